"""Requests that are answered while somebody waits: heard or spoken by the same replicas as jobs, kept nowhere."""
