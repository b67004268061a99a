"""A migration of a version that does not exist."""
