"""The operations of the service, and all SQL."""
