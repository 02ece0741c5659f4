"""Results of engines that are kept for later jobs."""
