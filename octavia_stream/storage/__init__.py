"""Media, checkpoints and results as objects by key."""
