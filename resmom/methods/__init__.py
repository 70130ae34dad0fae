"""Methods: one paper, one file. A file reads as the paper's algorithm box; none imports another."""
