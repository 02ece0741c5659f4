"""The `octavia` command."""
