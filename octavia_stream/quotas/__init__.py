"""What one owner may use of a server, and what is used."""
