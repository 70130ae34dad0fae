"""Weights without a run: named, read, and shown images as they are used to."""
