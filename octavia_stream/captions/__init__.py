"""Subtitles, made from segments."""
