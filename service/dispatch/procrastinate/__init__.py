"""The engine `procrastinate`: a process gets broadcasts as jobs from a queue."""
