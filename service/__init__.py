"""Crier: one message to many people, delivered or accounted for."""
