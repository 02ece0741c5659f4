"""Postgres and Valkey from the package registry, for a machine that has neither."""
