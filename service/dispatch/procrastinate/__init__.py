"""The engine `procrastinate`: broadcasts reach a process as jobs of a queue."""
