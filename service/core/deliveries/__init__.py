"""Deliveries: every statement that changes a delivery's status is in this package."""
