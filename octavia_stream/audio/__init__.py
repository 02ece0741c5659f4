"""Samples in memory: numpy only, no files and no models."""
