"""The usual ways of sending one message to many; run in the benchmark's own environment."""
