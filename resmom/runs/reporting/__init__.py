"""Pages and pictures about runs."""
