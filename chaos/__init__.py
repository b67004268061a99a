"""Chaos: a running service is broken again and again, then its word is compared with the facts.

`max_requests` is no fault of its own: workers change because of it in every run.
"""
