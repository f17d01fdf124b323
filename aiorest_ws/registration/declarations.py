"""What is given to a registration (path, handler, methods) → what a `Route` is made of, or what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aiorest_ws.callables.calls import named
from aiorest_ws.callables.spelling import meant
from aiorest_ws.decorators import Endpoint, endpoint
from aiorest_ws.exceptions import EndpointValueError, InvalidHandler, InvalidPathArgument, NotSupportedArgumentType
from aiorest_ws.routing.converters import CONVERTERS
from aiorest_ws.routing.misses import OWN_VERBS
from aiorest_ws.views import AROUND, GUARDS, MethodBasedView

__all__ = ("Lists", "check_assigned", "check_members", "checked_template", "checked_verbs", "checked_view", "only")


class Lists:
    """Lists that were given, of which copies are used: whether they are still as they were."""

    def __init__(self) -> None:
        self._given: list[tuple[str, Any, tuple[Any, ...]]] = []

    def note(self, name: str, given: Any) -> None:
        if isinstance(given, list):
            self._given.append((name, given, tuple(given)))

    def check_unchanged(self) -> None:
        """Raise InvalidHandler if one of them says something else than when it was given, which nobody looked at."""
        for name, now, before in self._given:
            if tuple(now) != before:
                raise InvalidHandler(
                    f"{name} were {list(before)!r} when they were given, and are {now!r}: set them before"
                )


def check_assigned(owner: Any, name: str, value: Any, cure: str) -> None:
    """Refuse to set an attribute of an instance of ours that is meant as a guard, and that nobody would look at."""
    if hasattr(type(owner), name) or name.startswith("_"):
        return
    is_guard = name in GUARDS or (isinstance(value, (bool, list, tuple)) and meant(name, (*GUARDS, *AROUND)))
    if is_guard and name not in AROUND:
        raise AttributeError(f"nobody looks at {name!r} of a {type(owner).__qualname__}: {cure}")


def check_members(cls: type, cure: str) -> None:
    """Refuse a subclass of ours that says as a class what is to be given to an instance, and so to nobody."""
    for base in cls.__mro__:
        for name in (*GUARDS, *AROUND):
            if name in vars(base) and base.__module__.partition(".")[0] != "aiorest_ws":
                raise TypeError(f"nobody looks at {name!r} of class {cls.__qualname__}: {cure}")


def checked_template(path: Any, converters: Mapping[str, Any] = CONVERTERS) -> str:
    """Give the template, with its last slash."""
    if not isinstance(path, str):
        cure = f" {named(path)} is no path: `@router.get` needs one." if callable(path) else ""
        raise NotSupportedArgumentType(f'Variable with name "path" must be `str` type.{cure}')
    template = path.strip()
    if not template.startswith("/"):
        raise InvalidPathArgument(f"Path should be started with `/` symbol, got {path!r:.200}")
    template = template if template.endswith("/") else template + "/"
    for segment in template.split("/"):
        ours = _ours(segment, converters)
        if ours is not None:
            raise EndpointValueError(f"Invalid {segment} part of {template} path: a parameter is written {ours}")
    if "?" in template or "#" in template:
        raise EndpointValueError(f"Invalid path {path!r:.200}: a url has no query and no fragment, clients send `args`")
    return template


def checked_view(path: str, handler: Any, methods: Any) -> tuple[type[MethodBasedView], Any]:
    """Give the view that answers, and its methods where none are given."""
    if isinstance(handler, Endpoint):
        raise InvalidHandler(
            f"{named(handler)} is decorated with @endpoint, which has its path: register_endpoint takes it"
        )
    if not isinstance(handler, type):
        if not callable(handler):
            raise InvalidHandler()
        methods = "GET" if methods is None else methods
        checked_verbs(methods)
        return endpoint(path, methods)(handler)()[1], methods
    if not issubclass(handler, MethodBasedView):
        raise InvalidHandler("Your class should be inherited from the MethodBasedView class")
    if methods is None:
        methods = list(handler.methods)
        if not methods:
            raise InvalidHandler(f"view {handler.__qualname__} has no method for any verb, such as `get`")
    return handler, methods


def checked_verbs(methods: Any) -> tuple[str, ...]:
    """Give the declared verbs, upper case, each once."""
    if not isinstance(methods, (list, str)):
        raise NotSupportedArgumentType('Variable with name "methods" must be `list` or `str` type.')
    verbs = [methods] if isinstance(methods, str) else methods
    if not verbs:
        raise NotSupportedArgumentType("methods must name at least one verb, got an empty list")
    for verb in verbs:
        if not isinstance(verb, str) or not verb.strip().isidentifier() or not verb.isascii() or verb.strip()[0] == "_":
            raise NotSupportedArgumentType(f"a method must be the name of a verb such as 'GET', got {verb!r}")
        if verb.strip().upper() in OWN_VERBS:
            raise NotSupportedArgumentType(
                f"{verb.strip().upper()} is the framework's own verb: a route that answers GET may be subscribed to "
                "when it says how it changes, `live=Live()`"
            )
    return tuple(dict.fromkeys(verb.strip().upper() for verb in verbs))


def only(verb: str, options: Mapping[str, Any]) -> str:
    """Give the verb of a decorator that has its name; raises TypeError if more of them were given."""
    if "methods" in options:
        raise TypeError(
            f"`@router.{verb.lower()}` is for {verb} alone, got methods={options['methods']!r:.100}: "
            "`@router.route(path, methods)` takes them"
        )
    return verb


# How other frameworks write a parameter: `<int:id>`, `:id`, `*rest`, `[id]`, a regular expression, `{id: int}`.
_foreign: Final = re.compile(
    r"<[^<>]+>|%\(\w+\)[sdif]|^%[sdif]$"
    r"|^:\w.*|^\*.*|^\[[.\w]+\]$|^\(.+\)$|.*\\.*|\{\*+\w+\}|\{\w+(?:\?|\.{3})\}|\{(?!\w+:\w+\})\s*\w+\s*:.+\}"
).search
_pairs: Final = re.compile(r"\{(\w+):(\w+)\}").finditer
_words: Final = re.compile(r"[^\W\d]\w*").findall
_KINDS: Final = {name: name for name in CONVERTERS} | {
    **dict.fromkeys(("integer", "Integer", "Int", "number", "bigint", "long", "\\d", "[0-9]"), "int"),
    **dict.fromkeys(("string", "String", "Str", "slug", "default"), "str"),
    **dict.fromkeys(("guid", "Guid", "UUID", "uuid4"), "uuid"),
    **dict.fromkeys(("double", "Float", "decimal"), "float"),
    **dict.fromkeys(("...", "*"), "path"),
}


def _is_foreign(pair: re.Match[str], converters: Mapping[str, Any]) -> bool:
    """Tell whether `{name:kind}` is the wrong way round, or has somebody else's name for a kind."""
    name, kind = pair.groups()
    return kind not in converters and (name in CONVERTERS or kind in _KINDS)


def _ours(segment: str, converters: Mapping[str, Any]) -> str | None:
    """Give how a parameter in `segment` is written here, None if there is none in somebody else's way."""
    found = _foreign(segment)
    if found is None:
        found = next((pair for pair in _pairs(segment) if _is_foreign(pair, converters)), None)
        if found is None:
            return None
    text = found[0].replace("(?P<", "<")
    words = _words(re.sub(r"\\.|%\w|\)\w", "", text))
    kind = next((ours for theirs, ours in _KINDS.items() if theirs in (text if not theirs.isalpha() else words)), "")
    names = [word for word in words if word not in _KINDS] or words or ["rest" if kind == "path" else "id"]
    # The name comes last in `<regex("a"):id>`, first everywhere else.
    name = names[-1] if text.startswith("<") and ":" in text else names[0]
    if kind in ("", "str"):
        return f"{{{name}}}, or with a converter {{{name}:int}}"
    return f"{{{name}:{kind}}}"
