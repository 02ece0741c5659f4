"""The corridor: speech in one language becomes speech in another, in sync."""
