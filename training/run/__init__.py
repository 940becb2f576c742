"""A run: from a task to a folder of results, whatever it trains."""
