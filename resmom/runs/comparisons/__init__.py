"""Several arms over seeds: the grid, its cells, and what their results say beside each other."""
