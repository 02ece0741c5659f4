"""The HTTP and WebSocket door: thin handlers around octavia_stream, never a Ray driver."""
