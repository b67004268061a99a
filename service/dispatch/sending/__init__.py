"""From a claim to a recorded result."""
