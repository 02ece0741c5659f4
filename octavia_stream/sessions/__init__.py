"""Lifetimes of live sessions: who has one, who pays for it, and where it is."""
