"""What a machine with an accelerator is asked to do, in parts that fit into short loans of it."""
