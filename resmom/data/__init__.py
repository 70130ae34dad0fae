"""Where images come from: sources, decoding, the order in which a run sees them, and reading ahead."""
