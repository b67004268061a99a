"""Chaos: a running service is broken again and again, then its word is compared with the facts.

Left out: steps of the clock, which tests of dispatching pass as a parameter, and two versions of
the service at once during a migration.
"""
