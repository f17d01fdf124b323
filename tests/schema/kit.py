"""What tests of the schema share: an application's documents, validated."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from openapi_spec_validator import validate

from aiorest_ws import Application, SimpleRouter

__all__ = ("TEXT_OF_URL", "asyncapi_faults", "document_of", "operation_of")

TEXT_OF_URL = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]+$"}  # of a path parameter

_ASYNCAPI = Path(__file__).parent / "specification" / "asyncapi-3.0.0.json"


def document_of(router: SimpleRouter, **options: Any) -> dict[str, Any]:
    """Give the document of an application, which is valid."""
    document = Application(router, **options).openapi()
    validate(document)
    return document


def operation_of(router: SimpleRouter, **options: Any) -> dict[str, Any]:
    """Give the first operation of an application's document."""
    item: dict[str, dict[str, Any]] = next(iter(document_of(router, **options)["paths"].values()))
    return next(iter(item.values()))


def asyncapi_faults(document: dict[str, Any]) -> list[str]:
    """Give what AsyncAPI's own schema has against a document."""
    return [
        f"{'/'.join(map(str, error.absolute_path))}: {error.message:.200}"
        for error in _specification().iter_errors(document)
    ]


@cache
def _specification() -> Any:
    return Draft7Validator(json.loads(_ASYNCAPI.read_text("utf-8")))
