"""Marshmallow schemas: the fields of requests and answers."""
