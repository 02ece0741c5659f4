"""What the server costs and how good its dubs are, measured on this machine: `python -m benchmarks.run`."""
