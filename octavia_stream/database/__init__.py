"""The Postgres pool and its migrations."""
