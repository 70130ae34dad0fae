"""Evaluation protocols, each with a name and a version to stand beside its numbers. Always student and teacher."""
