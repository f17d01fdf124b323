"""Converters of path parameters, under the path that people know."""

from aiorest_ws.routing.converters import CONVERTERS, PATH, Converter

__all__ = ("CONVERTERS", "PATH", "Converter")
