"""The verbs of the service, over a database session."""
