"""Ray Serve deployments: thin shells around octavia_stream."""
