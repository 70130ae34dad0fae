"""Training: the order of a step, what a restart carries, and the optimisers."""
