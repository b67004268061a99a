"""Deliveries, and every statement that moves the status of one."""
