"""What operators see: metrics, cards of running processes, traces."""
