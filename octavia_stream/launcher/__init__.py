"""One machine's stack of processes: brought up in order, kept up, taken down without a trace."""
