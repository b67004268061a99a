"""Drivers: one file a channel."""
