"""Channels: the code that sends messages through providers."""
