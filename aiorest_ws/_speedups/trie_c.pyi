from collections.abc import Mapping
from typing import Any, final

from aiorest_ws._speedups.trie import MAX_SEGMENTS as MAX_SEGMENTS
from aiorest_ws._speedups.trie import parse_template as parse_template
from aiorest_ws.converters import Converter

__all__ = ("MAX_SEGMENTS", "Trie", "parse_template")

@final
class Trie:
    def __init__(self) -> None: ...
    def insert(
        self, template: str, method: str, value: object, converters: Mapping[str, Converter | None] = ...
    ) -> None: ...
    def find(self, template: str, method: str, converters: Mapping[str, Converter | None] = ...) -> str | None: ...
    def match(self, method: object, url: str) -> tuple[object, tuple[Any, ...]]: ...
