"""Webhooks: what happens to a job, told to addresses that its owner names."""
