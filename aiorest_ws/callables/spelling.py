"""A name that somebody wrote → the one of ours that is meant: what nobody would read is refused, not swallowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

from aiorest_ws.peers import OPTIONS

__all__ = ("check_names", "elsewhere", "meant", "misspelled", "spelled", "unknown")

F = TypeVar("F", bound=Callable[..., Any])

# What other frameworks call it, lower case and without underscores. Words that programs use for values of their own
# (`roles`, `scopes`, `filters`, `tags`) are not here.
_PEERS: Final = {
    word: option
    for option, words in {
        "auth_required": "auth authenticated authentication_required authorization_required is_authenticated "
        "is_auth_required login_required needs_auth private_auth require_auth require_login requires_auth "
        "requires_login get_auth_required jwt_required session_required token_required user_required",
        "dependencies": "depend depends dependency depends_on get_dependencies",
        "middlewares": "authentication authentication_class authentication_classes authenticator authenticators "
        "decorator decorators method_decorators interceptor interceptors middleware middleware_classes "
        "throttle throttles throttle_class throttle_classes get_authenticators get_middleware get_middlewares "
        "get_throttles route_middleware route_middlewares",
        "permission_classes": "permission permissions permission_required permissions_required perms guard guards "
        "get_guards get_permissions get_permission_classes check_permissions authorization_class authorization_classes "
        "has_permission has_permissions test_func",
        "prefix": "url_prefix path_prefix",
        "renderers": "renderer_class renderer_classes response_class get_renderers",
        "response_model": "response_schema return_model output_model",
        "threaded": "sync_to_thread run_in_thread in_thread use_threads",
    }.items()
    for word in words.replace("_", "").split()
}

# That are known with a slip of the pen, too. `authenticate` may be the program's own, and `get_renderer` is ours.
_LONG_WORDS: Final = tuple(
    word
    for word, option in _PEERS.items()
    if len(word) > 8 and option in ("dependencies", "middlewares", "permission_classes")
)

# Their words for what is done otherwise here, by where they stand: swallowed, what is to stay would be sent.
_OF_VIEWS: Final = {
    word: cure
    for cure, words in {
        "response_model is a class with just what is to be sent": "response_model_exclude response_model_include "
        "response_model_exclude_none response_model_exclude_unset response_model_exclude_defaults "
        "response_model_by_alias return_dto dto",
        "middlewares stand around a handler": "before_request after_request process_request",
    }.items()
    for word in words.split()
}
_ELSEWHERE: Final[dict[str, Mapping[str, str]]] = {
    "view": _OF_VIEWS,
    "endpoint": _OF_VIEWS | {"status_code": "it is called status, and a handler may return Response(…, status=…)"},
    "SimpleRouter": dict.fromkeys(("prefix", "url_prefix"), "include(…, prefix=…) has it"),
    "option": OPTIONS,
}

_MANY: Final = 3  # slips of the pen, at most


def meant(name: str, known: Iterable[str]) -> str | None:
    """Give which of `known` is meant by `name`; None if it is one of them, or like none.

    What differs in case, underscores or by one or two slips of the pen is alike (of a short name by one, of a very long
    one by three), and so is another framework's word for the same thing, a long one also by a slip of the pen.
    """
    return _meant(name, tuple(known))


@lru_cache(maxsize=1024)  # registration asks for the same names with every route
def _meant(name: str, known: tuple[str, ...]) -> str | None:
    if name in known:
        return None
    plain = _plain(name)
    peer = _PEERS.get(plain) or next((_PEERS[word] for word in _LONG_WORDS if _slips(plain, word) == 1), None)
    if peer in known:
        return peer
    alike = [(slips, option) for option in known if (slips := _slips(plain, _plain(option))) <= _most(option)]
    return min(alike)[1] if alike else None


def misspelled(word: str, known: Iterable[str]) -> str | None:
    """Give which of `known`, lower case, is `word` with letters that are swapped, missing or too many; else None.

    A letter in another's place makes a word of its own too often, as WATCH is none of PATCH.
    """
    plain = _plain(word.strip())
    for option in sorted(known):
        is_slip = len(plain) != len(option) or sorted(plain) == sorted(option)
        if is_slip and 0 < _slips(plain, option) <= _most(option):
            return option
    return None


def elsewhere(name: str, of: str) -> str | None:
    """Give how that is done for which `of` has no `name`, which another framework has; None if we know of none.

    For "option" it may be the name of another.
    """
    return _ELSEWHERE.get(of, {}).get(name.lower())


def unknown(name: str, known: Iterable[str], what: str = "keyword", of: str = "") -> str:
    """Say that `name` is none of `known`, and which is meant, or what there is."""
    known = tuple(known)
    cure = meant(name, known) or elsewhere(name, of or what) or f"expected one of {', '.join(sorted(known))}"
    if cure in known:
        cure = f"did you mean {cure!r}?"
    return f"unknown {what} {name!r:.100}{of and f' of {of}'}, {cure}"


def check_names(cls: type, base: type, known: Iterable[str], counts: Callable[[Any], bool] | None = None) -> None:
    """Raise TypeError if `cls`, a subclass of `base`, has an attribute that is almost called like one of `known`.

    counts    tells of a value whether it may be what is meant; None: any may
    """
    known = tuple(known)
    for part in cls.__mro__[: cls.__mro__.index(base)]:
        for name, value in vars(part).items():
            near = None if name.startswith("_") or hasattr(base, name) else meant(name, known)
            if near and (counts is None or counts(value)):
                raise TypeError(f"{part.__qualname__} has an attribute {name!r}, did you mean {near!r}?")


def spelled(function: F) -> F:
    """Make `function` say which of its keywords is meant by one that it does not have."""
    code = function.__code__
    known = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]  # without self
    title = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                raise TypeError(unknown(name, known, of=title))
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _most(option: str) -> int:
    """Give how many slips of the pen may be in `option`."""
    return 1 if len(option) < 6 else 2 if len(option) < 18 else _MANY


def _slips(one: str, other: str) -> int:
    """Count the letters to insert, leave out, replace or swap with the next (Damerau's distance)."""
    if abs(len(one) - len(other)) > _MANY:
        return _MANY + 1
    older: list[int] = []
    above = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (a != b)))
            if i and j and (a, b) == (other[j - 1], one[i - 1]):
                row[-1] = min(row[-1], older[j - 1] + 1)
        older, above = above, row
    return above[-1]
