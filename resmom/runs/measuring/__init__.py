"""A finished run on labelled images: protocols, repetitions, the gap, which network to keep."""
