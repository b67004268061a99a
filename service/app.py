"""The application: builds the parts of the service and joins them."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import Map

import service
from service import cli, config, parts
from service.blueprints import (
    actions,
    aliases,
    attachments,
    audit,
    broadcasts,
    callbacks,
    clients,
    contacts,
    deliveries,
    description,
    docs,
    exports,
    files,
    groups,
    health,
    metrics,
    opt_outs,
    origins,
    replies,
    reports,
    sandbox,
    sessions,
    templates,
    tokens,
    traffic,
    webhooks,
)
from service.blueprints.context import EXTENSION
from service.blueprints.requests import Request
from service.config import Settings
from service.console import shell as console

_NOUNS = (
    broadcasts,
    deliveries,
    reports,
    exports,
    attachments,
    contacts,
    groups,
    sessions,
    tokens,
    opt_outs,
    callbacks,
    clients,
    replies,
    templates,
    audit,
    sandbox,
    webhooks,
    files,
    health,
)


class Addresses(Map):
    """Flask's map of addresses, which redirects none: `/broadcast/` also takes a POST."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strict_slashes=False, merge_slashes=False, **options)


class Application(Flask):
    """Flask, with our requests and addresses."""

    request_class = Request
    url_map_class: type[Map] = Addresses


def create_app(settings: Settings | None = None) -> Application:
    """Build the application; nothing of it runs yet, as servers fork after this."""
    settings = settings or config.load()
    app = Application("service", static_folder="static")
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the provider that Flask comes with
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    equip(app, settings)
    traffic.register(app)
    actions.register(app)
    metrics.register(app)
    origins.register(app)
    _publish(app)
    console.register(app)
    cli.register(app)
    app.wsgi_app = aliases.Prefix(app.wsgi_app)  # type: ignore[method-assign]  # as documented
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # as documented
            app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops, x_prefix=hops
        )
    return app


def equip(app: Flask, settings: Settings) -> None:
    """Give an application the parts that work with these settings, in place of any it had."""
    app.extensions[EXTENSION] = parts.build(settings)


def _publish(app: Application) -> None:
    """Register all routes, with their description."""
    app.url_map.converters["id"] = description.IdConverter
    app.config["API_TITLE"] = "Crier"
    app.config["API_VERSION"] = service.VERSION
    app.config["OPENAPI_VERSION"] = "3.1.0"
    servers = [{"url": "/"}, {"url": aliases.PREFIX, "description": "As the guide has it"}]
    spec = {"info": {"description": service.__doc__}, "servers": servers}
    described = description.Api(app, spec_kwargs=spec)
    description.describe(described)
    for noun in _NOUNS:
        described.register_blueprint(noun.blueprint)
    app.register_blueprint(docs.blueprint)
