"""The weights that a run starts from: published ones by name, downloaded, and what any file of them was made with."""
