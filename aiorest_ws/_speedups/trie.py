"""In: a method and a url. Out: the registered value and the path parameters, or the reason why there is none.

This is the specification of `trie_c.pyx`, its compiled twin, and what runs without a compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final, final

from aiorest_ws.exceptions import EndpointValueError, IncorrectURL, MethodNotAllowed, NotSpecifiedHandler
from aiorest_ws.routing.converters import CONVERTERS, Converter
from aiorest_ws.routing.templates import CONTROL, PARAMETER, REST, Part, Typed, join_rest, parse_template, split_segment

__all__ = ("Trie",)


def convert_segment(part: Typed, segment: str) -> tuple[Any, ...] | None:
    """Give the converted values of a segment, None if one of them is refused."""
    values: tuple[Any, ...] | None = split_segment(part.literals, segment)
    if values is None:
        return None
    try:
        return tuple(
            [
                converter.convert(value) if converter is not None else value
                for converter, value in zip(part.converters, values, strict=True)
            ]
        )
    except Exception:  # whatever a converter raises over a text of the client's: it does not fit
        return None


class _Leaf:
    """What one template and method lead to."""

    __slots__ = ("found", "indexes", "only", "parts", "pick", "template", "value")

    def __init__(self, template: str, parts: list[Part], value: object) -> None:
        self.template = template
        self.value = value
        self.parts = parts
        self.found: tuple[object, tuple[Any, ...]] = (value, ())
        # Positions in url.split("/"), which begins with what comes before the first slash.
        self.indexes = [index for index, part in enumerate(parts, 1) if isinstance(part, tuple)]
        # PERF: where every parameter is a whole segment, the only one's index, or what takes all of them out at once.
        self.only: int | None = None
        self.pick: Callable[[list[str]], tuple[str, ...]] | None = None
        if all(parts[index - 1] == PARAMETER for index in self.indexes):
            if len(self.indexes) == 1:
                self.only = self.indexes[0]
            elif self.indexes:
                self.pick = itemgetter(*self.indexes)

    def result(self, segments: list[str], converted: dict[int, tuple[Any, ...]]) -> tuple[object, tuple[Any, ...]]:
        """Give the value and the parameters out of the segments of a url that matches."""
        values: tuple[Any, ...] = ()
        for index in self.indexes:
            part = self.parts[index - 1]
            if isinstance(part, Typed):
                values += (join_rest(segments[index:]),) if part == REST else converted[index]
            elif not isinstance(part, str):
                values += split_segment(part, segments[index]) or ()
        return self.value, values


class _Node:
    """The templates that agree up to here; `mixed` is in the order of trial."""

    __slots__ = ("fallback", "is_rest", "leaves", "literals", "mixed", "parameter", "rest")

    def __init__(self, nowhere: _Node | None = None) -> None:
        # PERF: the walk has no test for a missing child, it ends in `nowhere`, whose children are itself.
        self.fallback = nowhere or self  # or `parameter`, if that is all that is left where no literal fits
        self.literals = {"": self.fallback}  # as a parameter is never empty
        self.mixed: list[tuple[tuple[str, ...] | Typed, _Node]] = []
        self.parameter: _Node | None = None
        self.rest: _Node | None = None  # where a parameter for all the rest leads to
        self.is_rest = False  # whether such a parameter leads here: no segment is left then
        self.leaves: dict[str | None, _Leaf] = {}

    def get(self, part: Part) -> _Node | None:
        """Give the child for a segment of a template."""
        if isinstance(part, str):
            child = self.literals.get(part)
            return None if child is _NOWHERE else child
        if part == PARAMETER:
            return self.parameter
        return self.rest if part == REST else dict(self.mixed).get(part)

    def add(self, part: Part) -> _Node:
        """Create that child."""
        node = _Node(_NOWHERE)
        if isinstance(part, str):
            self.literals[part] = node
        elif part == PARAMETER:
            self.parameter = node
        elif part == REST:
            self.rest = node
            node.is_rest = True
        else:
            self.mixed.append((part, node))
            self.mixed.sort(key=lambda item: _weight(item[0]), reverse=True)
        if self.parameter and not self.mixed:
            self.fallback = self.parameter
        else:
            self.fallback = _NOWHERE
        return node

    def matching(self, segments: list[str], index: int, converted: dict[int, tuple[Any, ...]]) -> Iterator[_Node]:
        """Give every child that a segment of a url leads to, the best first; a converter's values go to `converted`."""
        segment = segments[index]
        literal = self.get(segment)
        if literal is not None:
            yield literal
        for part, node in self.mixed:
            if isinstance(part, Typed):
                values = convert_segment(part, segment)
                if values is not None:
                    converted[index] = values
                    yield node
            elif split_segment(part, segment) is not None:
                yield node
        if segment and self.parameter is not None:
            yield self.parameter
        if self.rest is not None and (segment or index + 1 < len(segments)):
            yield self.rest


def _weight(part: tuple[str, ...] | Typed) -> tuple[int, int]:
    """Rank mixed segments: by literal characters, then by converters; of equal ones the oldest stays first."""
    if isinstance(part, Typed):
        return len("".join(part.literals)), len(part.converters) - part.converters.count(None)
    return len("".join(part)), 0


_NOWHERE: Final = _Node()


@final
class Trie:
    """Templates with their methods and values, searched segment by segment.

    At each level a literal beats a mixed segment (most literal characters first, then most converters, then the
    oldest), which beats a parameter, which beats a parameter for all the rest (`{name:path}`). A parameter with a
    converter is a mixed segment. A choice that leads to no template with the method is taken back.

    templates    all that were inserted, each once, in order
    verbs        their methods
    """

    __slots__ = ("_limit", "_root", "_start", "_static", "templates", "verbs")

    def __init__(self) -> None:
        # What comes before the first slash is empty; in the empty url, which means `/`, nothing comes at all.
        self._start = _Node(_NOWHERE)
        self._root = self._start.add("")
        self._start.leaves = self._root.leaves
        self._limit = 1  # one more than the segments of the deepest template
        # url, with and without the last slash → method → result: what most requests are answered from.
        self._static: dict[str, dict[str | None, tuple[object, tuple[Any, ...]]]] = {}
        self.templates: dict[str, None] = {}
        self.verbs: dict[str, None] = {}

    def insert(
        self, template: str, method: str, value: object, converters: Mapping[str, Converter | None] = CONVERTERS
    ) -> None:
        """Add a template that starts and ends with `/`; EndpointValueError if it is malformed or already there."""
        parts = parse_template(template, converters)
        node = self._root
        for part in parts:
            node = node.get(part) or node.add(part)
        if method in node.leaves:  # then no node was added either: nothing has changed
            other = node.leaves[method].template
            raise EndpointValueError(f"duplicate template '{template}' for {method}, already registered as '{other}'")
        node.leaves[method] = leaf = _Leaf(template, parts, value)
        self.templates[template] = self.verbs[method] = None
        self._limit = max(self._limit, len(parts) + 1)
        if not leaf.indexes:
            for url in (template, template[:-1]):
                # Without its last slash `//` would be another template, and a space at the end is stripped.
                if url == template or not url.endswith(("/", " ")):
                    self._static.setdefault(url, {})[method] = leaf.found

    def find(self, template: str, method: str, converters: Mapping[str, Converter | None] = CONVERTERS) -> str | None:
        """Give the registered template that `insert` would clash with."""
        node: _Node | None = self._root
        for part in parse_template(template, converters):
            node = node and node.get(part)
        leaf = node and node.leaves.get(method)
        return leaf.template if leaf else None

    def match(self, method: object, url: str) -> tuple[object, tuple[Any, ...]]:
        """Give the value and the path parameters in template order, strings where they have no converter.

        Raises IncorrectURL for a control character, NotSpecifiedHandler if no template matches the url and
        MethodNotAllowed if none of those that match has the method. `method` may be anything.
        """
        if type(method) is not str:
            method = str.__str__(method) if isinstance(method, str) else None
        if url in self._static:
            methods = self._static[url]
            if method in methods:
                return methods[method]
        # PERF: isprintable is false for every control character and takes a third of the time of the search.
        if not url.isprintable() and CONTROL(url):
            raise IncorrectURL("url contains a control character")
        if "{" in url or "}" in url:
            raise NotSpecifiedHandler()
        if " " in url:
            url = url.strip(" ")
        # A url with more segments than the deepest template has keeps the rest in the last item: too many anyway.
        segments = url.split("/", self._limit)
        if not segments[-1]:
            del segments[-1]
        # PERF: the best choice at each level is nearly always the answer; only if it is not, `_search` tries them all.
        node = self._start
        for segment in segments:
            node = node.literals.get(segment, node.fallback)
        leaf = node.leaves.get(method)
        if leaf is not None:
            if leaf.pick is not None:
                return leaf.value, leaf.pick(segments)
            if leaf.only is not None:
                return leaf.value, (segments[leaf.only],)
        return self._search(method, segments)

    def _search(self, method: str | None, segments: list[str]) -> tuple[object, tuple[Any, ...]]:
        """Try every choice, for the method as it came and then as it is usually written."""
        known = False
        for name in _spellings(method):
            converted: dict[int, tuple[Any, ...]] = {}
            for node in self._ends(segments, converted):
                known = True
                if name in node.leaves:
                    return node.leaves[name].result(segments, converted)
            if not known:
                break
        raise MethodNotAllowed() if known else NotSpecifiedHandler()

    def _ends(self, segments: list[str], converted: dict[int, tuple[Any, ...]]) -> Iterator[_Node]:
        """Give every node with a template that matches: depth first and so the best first, and none twice.

        `converted` holds, by index, what the converters on the way to that node gave.
        """
        trail = [iter((self._start,))]
        while trail:
            node = next(trail[-1], None)
            if node is None:
                trail.pop()
            elif len(trail) <= len(segments) and not node.is_rest:
                trail.append(node.matching(segments, len(trail) - 1, converted))
            elif node.leaves:
                yield node


def _spellings(method: str | None) -> list[str | None]:
    """Give the method as it came and, if that is another, as it is usually written."""
    if method is None or not method.isascii():
        return [method]
    return list(dict.fromkeys((method, method.strip(" ").upper())))
