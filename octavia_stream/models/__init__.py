"""Which models exist, where they come from and what their licences allow."""
