"""Channels: the ways in which a message leaves the service."""
