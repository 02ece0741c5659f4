"""Lifetimes of batch work."""
