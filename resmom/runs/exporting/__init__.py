"""What leaves a run, or weights without one: files for other tools, with their card."""
