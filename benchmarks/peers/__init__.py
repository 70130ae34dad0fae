"""Ours beside other libraries, each a live process of its own: `python -m benchmarks.peers --help`."""
