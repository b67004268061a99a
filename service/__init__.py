"""Crier: one message to many people, delivered or accounted for."""

VERSION = "1.0.0"
"""The version of the service, and with it of the API."""
