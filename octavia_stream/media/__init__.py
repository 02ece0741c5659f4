"""Containers, through PyAV, always inside a jailed child process."""
