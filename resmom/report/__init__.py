"""Pages and plots about runs: numbers in, one self-contained page out."""
