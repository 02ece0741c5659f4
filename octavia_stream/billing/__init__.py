"""Credits: what things cost, who has how many, and where every one of them came from."""
