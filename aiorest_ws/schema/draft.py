"""A JSON Schema of 2020-12, as msgspec and pydantic write it → what says the same in draft 7, which AsyncAPI takes."""

from __future__ import annotations

from typing import Any

__all__ = ("as_draft_07",)


def as_draft_07(schema: Any) -> Any:
    """Give a copy of `schema`, or of whatever has schemas in it.

    Items by position have another name there, what stands beside a `$ref` would not count, and a discriminator, which
    only helps readers, is no object in AsyncAPI.
    """
    if isinstance(schema, list):
        return [as_draft_07(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: as_draft_07(value) for key, value in schema.items()}
    if isinstance(found.get("discriminator"), dict) and "propertyName" in found["discriminator"]:
        del found["discriminator"]
    if isinstance(found.get("prefixItems"), list):
        rest = found.pop("items", True)
        found["items"] = found.pop("prefixItems")
        found["additionalItems"] = rest
    if isinstance(found.get("$ref"), str) and len(found) > 1:
        found = {"allOf": [{"$ref": found.pop("$ref")}]} | found
    return found
