"""Dispatch: sends accepted broadcasts."""
