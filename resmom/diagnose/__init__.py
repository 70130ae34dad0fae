"""Diagnosis: pure functions from tensors to numbers."""
