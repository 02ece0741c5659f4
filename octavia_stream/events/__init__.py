"""What happens to a job, told as it happens."""
