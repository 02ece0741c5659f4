"""The way out: connections to addresses that users name."""
