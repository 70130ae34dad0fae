"""Losses as pure functions: tensors in, scalar out, computed in float32 whatever comes in (float64 stays)."""
