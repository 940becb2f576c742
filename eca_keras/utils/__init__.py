"""What the whole package shares and no user calls."""
