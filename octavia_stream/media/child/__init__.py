"""The child's side of the jail: the only place that knows PyAV, and the only code that touches a user's file.

Runs in a process of its own (`main.py`), confined (`confinement.py`) before the file is opened.
"""
