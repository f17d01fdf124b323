"""What tests of the schema share: an application's document, validated."""

from __future__ import annotations

from typing import Any

from openapi_spec_validator import validate

from aiorest_ws import Application, SimpleRouter

__all__ = ("document_of", "operation_of")


def document_of(router: SimpleRouter, **options: Any) -> dict[str, Any]:
    """Give the document of an application, which is valid."""
    document = Application(router, **options).openapi()
    validate(document)
    return document


def operation_of(router: SimpleRouter, **options: Any) -> dict[str, Any]:
    """Give the first operation of an application's document."""
    item: dict[str, dict[str, Any]] = next(iter(document_of(router, **options)["paths"].values()))
    return next(iter(item.values()))
