"""SMS: what all channels that send short messages have in common."""
