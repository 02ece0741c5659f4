"""Whether what was promised is so: one number for each invariant."""
