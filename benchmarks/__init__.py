"""Measurements of the service: how fast, and through what."""
