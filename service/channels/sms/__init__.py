"""SMS: the code that all SMS channels share."""
