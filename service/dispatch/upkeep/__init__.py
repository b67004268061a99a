"""What runs beside sending: fan-out, receipts, schedules, leases, purges."""
