"""Chaos: a running service is broken again and again, then its word is compared with the facts."""
