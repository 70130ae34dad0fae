"""Pages of results: every number in them is computed from committed result files, by one command."""
