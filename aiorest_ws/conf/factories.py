"""Options → the factory of one listener: what its connections read of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from aiorest_ws.conf.options import TABLE, middleware_of
from aiorest_ws.limits import Limits

if TYPE_CHECKING:
    from aiorest_ws.app import Application
    from aiorest_ws.request import RequestHandlerFactory

__all__ = ("factory_of",)


def factory_of(app: Application, url: str, options: Mapping[str, Any]) -> RequestHandlerFactory:
    """Make the factory of the listener at `url`, of the class that `options`, all of them, name."""
    factory: RequestHandlerFactory = options["factory"](url, **options["factory_options"])
    factory.protocol = options["protocol"]
    factory.router = options["router"]
    factory.middlewares = tuple(map(middleware_of, app.middlewares))  # it may have grown
    factory.exception_handlers = app.exception_handlers
    factory.dependency_overrides = app.dependency_overrides
    factory.app = app
    factory.limits = Limits(**{field.name: options[field.name] for field in fields(Limits)})
    factory.served_path = "/" + options["path"].strip("/")
    factory.debug = options["debug"]
    factory.proxy_protocol = options["proxy_protocol"]
    factory.access_log = options["access_log"]
    factory.threads = options["threads"]
    for name, option in TABLE.items():
        if option.of_factory and options[name] != option.default:
            setattr(factory, name, options[name])
    factory.setProtocolOptions(**_protocol_options(options))
    return factory


def _protocol_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of Autobahn's options that are not as they are by default: a factory class may set its own."""
    changed: dict[str, Any] = {}
    forwarding = options["trusted_proxies"] - options["proxy_protocol"]  # the nearest says it in another way
    if forwarding > 0:
        changed["trustXForwardedFor"] = forwarding
    if options["compress"]:
        changed["perMessageCompressionAccept"] = options["accept_function"]
    return changed
