"""What those may see and do who run the server; each act is written down for ever."""
