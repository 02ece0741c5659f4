"""Files that users brought."""
