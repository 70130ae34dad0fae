"""What becomes of the same photos in the same time on one core: ours beside lightly-train."""
