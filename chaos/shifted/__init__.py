"""A folder for PYTHONPATH: who starts with it has a wall clock that can be stepped."""
