"""People who use the server and how they prove it."""
