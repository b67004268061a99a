"""Schemas of the health checks."""

from __future__ import annotations

from marshmallow import Schema, fields


class HealthSchema(Schema):
    """Whether the process answers."""

    version = fields.String(required=True)


class ReadinessSchema(Schema):
    """Whether each part is ready: `ok`, or a sentence that explains the problem."""

    database = fields.String(required=True)
    migrations = fields.String(required=True)
    keys = fields.String(required=True)
    dispatcher = fields.String(required=True)
