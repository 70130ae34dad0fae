"""The training of one run: its job, the loop over its steps, what is measured and written on the way."""
