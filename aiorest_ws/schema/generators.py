"""Types that are wanted → their schemas, by the generators of msgspec and pydantic, and the classes that are in them.

Imports msgspec: who needs it imports this module when there are types to be described.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_origin

from msgspec import inspect as types
from msgspec.json import schema_components

from aiorest_ws._speedups.values import is_pydantics, is_read_from_text
from aiorest_ws.handlers.kinds import NoCheck, infos_of
from aiorest_ws.handlers.validation import adapter_of, is_for_pydantic_alone, is_pydantic
from aiorest_ws.schema.marks import Marks, is_marked
from aiorest_ws.schema.wanted import TEMPLATE, Mode, Wanted

__all__ = ("Generated", "of_msgspec", "of_pydantic", "sorted_by_library")

Generated = tuple[dict[str, Any], list[tuple[Wanted, dict[str, Any]]]]
"""The schemas of classes by name, and those of what was wanted, which refer to them."""

_MARK = "x-class"  # of a schema that stands for a class which msgspec does not know


class _Kind:
    """A type that msgspec describes, once for all who want it.

    info       as msgspec.inspect has it, if there is something to be said of it
    classes    that are in it, by their full names
    modes      which of the two it is wanted in, if models of pydantic's are in it: what comes of them may differ from
               what is sent
    """

    __slots__ = ("classes", "hint", "info", "modes", "wanted")

    def __init__(self, hint: Any, info: Any, classes: dict[str, set[Any]], modes: set[Mode]) -> None:
        self.hint = hint
        self.info = info
        self.classes = classes
        self.modes = modes
        self.wanted: list[Wanted] = []


def sorted_by_library(wanted: Iterable[Wanted], warnings: list[str]) -> tuple[list[_Kind], list[Wanted]]:
    """Give the types that msgspec describes, and those that pydantic does; what cannot be described has a warning."""
    kinds: dict[Any, _Kind | None] = {}
    pydantics: list[Wanted] = []
    for each in sorted(wanted, key=lambda each: each.mode == "serialization"):  # what is taken first
        key = _key(each)
        taken = kinds.get((key[0], "validation"))
        if taken is not None and not taken.modes:
            kinds[key] = taken  # PERF: what is taken so is sent so
        if key not in kinds:
            try:
                kinds[key] = _kind_of(each, warnings)
            except NoCheck as exc:
                warnings.append(f"{each.title}: {_named(each.hint)} cannot be described: {exc}")
                continue
        kind = kinds[key]
        if kind is None:
            pydantics.append(each)
        else:
            kind.wanted.append(each)
    return [kind for kind in dict.fromkeys(kinds.values()) if kind is not None], pydantics


def _kind_of(wanted: Wanted, warnings: list[str]) -> _Kind | None:
    """Give the kind of a type, None for one of pydantic's; raises NoCheck."""
    if is_pydantic(wanted.hint):
        return None
    infos = infos_of(wanted.hint)
    if wanted.mode == "validation" and any(map(is_for_pydantic_alone, infos)):
        return None
    classes: dict[str, set[Any]] = {}
    for info in infos:
        cls: Any = getattr(info, "cls", None)
        if isinstance(info, types.CustomType) and not (is_pydantics(cls) or is_read_from_text(cls)):
            warnings.append(f"{wanted.title}: a {_named(cls)} cannot be described: it is {{}}")
        elif isinstance(info, types.RawType):
            warnings.append(f"{wanted.title}: a Raw may be anything: it is {{}}")
        elif cls is not None:
            classes.setdefault(_full_name(cls), set()).add(cls)
    if any(len(same) > 1 for same in classes.values()):
        raise NoCheck("two classes in it have the same name")
    has_model = any(isinstance(info, types.CustomType) and is_pydantics(info.cls) for info in infos)
    info = infos[0] if any(map(is_marked, infos)) else None
    return _Kind(wanted.hint, info, classes, {wanted.mode} if has_model else set())


def _full_name(cls: Any) -> str:
    """Give the name by which msgspec tells classes apart, of a generic one with its arguments."""
    return repr(cls) if get_origin(cls) is not None else f"{cls.__module__}.{cls.__qualname__}"


def of_msgspec(kinds: Iterable[_Kind], foreign: list[Wanted], warnings: list[str]) -> Iterator[Generated]:
    """Give schemas of `kinds`, several times if classes of one name are in them, or models that come and are sent. What
    pydantic has to fill in comes into `foreign`.
    """
    for group in _groups(kinds):
        group, schemas, defined = _of_group(group, warnings)
        marks = Marks(defined)
        for kind, schema in zip(group, schemas, strict=True):
            if kind.info is not None:
                marks.put(kind.info, schema)
            _finish(schema, kind.wanted[0], foreign)
        asks = next((kind for kind in group if kind.modes), *group[:1])
        for schema in defined.values():
            _finish(schema, asks.wanted[0], foreign)
        pairs = zip(group, schemas, strict=True)
        yield defined, [(wanted, schema) for kind, schema in pairs for wanted in kind.wanted]


def _groups(kinds: Iterable[_Kind]) -> list[list[_Kind]]:
    """Give lists of kinds with no two classes of one name, and no two modes, in any of them; mostly there is one."""
    groups: list[tuple[list[_Kind], dict[str, set[Any]], set[Mode]]] = []
    for kind in kinds:
        for group, classes, modes in groups:
            is_one_mode = len(modes | kind.modes) < 2
            if is_one_mode and all(classes.get(name, same) == same for name, same in kind.classes.items()):
                group.append(kind)
                classes.update(kind.classes)
                modes |= kind.modes
                break
        else:
            groups.append(([kind], dict(kind.classes), set(kind.modes)))
    return [group for group, _, _ in groups]


def _of_group(group: list[_Kind], warnings: list[str]) -> tuple[list[_Kind], list[dict[str, Any]], dict[str, Any]]:
    """Give those of `group` that can be described, their schemas, and those of the classes in them."""
    try:
        schemas, defined = _described(group)
    except Exception:  # types, and defaults, of the user's own
        group = [kind for kind in group if _is_described(kind, warnings)]
        schemas, defined = _described(group)
    return group, list(schemas), defined


def _described(group: list[_Kind]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    return schema_components([kind.hint for kind in group], schema_hook=_mark, ref_template=TEMPLATE)


def _is_described(kind: _Kind, warnings: list[str]) -> bool:
    try:
        _described([kind])
    except Exception as exc:  # as above
        warnings += [_complaint(wanted, exc) for wanted in kind.wanted]
        return False
    return True


def _mark(cls: Any) -> dict[str, Any]:
    """Describe a class that msgspec does not know. It is a `schema_hook` of msgspec."""
    return {"type": "string"} if is_read_from_text(cls) else {_MARK: cls}


def _finish(schema: Any, wanted: Wanted, foreign: list[Wanted]) -> None:
    """Leave it to pydantic to fill in what stands in `schema` for its classes, and leave the others empty."""
    todo = [schema]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            cls = node.pop(_MARK, None)
            if cls is not None and is_pydantics(cls):
                foreign.append(Wanted(cls, wanted.mode, wanted.title, node))
            todo += node.values()


# pydantic


def of_pydantic(wanted: list[Wanted], warnings: list[str]) -> Iterator[Generated]:
    """Give schemas of what pydantic knows, if there is any."""
    if not wanted:
        return
    try:
        generated = _generated(wanted)
    except Exception:  # types of the user's own
        generated = _generated([each for each in wanted if _is_generated(each, warnings)])
    yield generated


def _is_generated(wanted: Wanted, warnings: list[str]) -> bool:
    try:
        _generated([wanted])
    except Exception as exc:  # as above
        warnings.append(_complaint(wanted, exc))
        return False
    return True


def _generated(wanted: list[Wanted]) -> Generated:
    from pydantic import TypeAdapter
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 (as in its base)

    numbered = [(str(number), each.mode, adapter_of(each.hint)) for number, each in enumerate(wanted)]
    found, definitions = TypeAdapter.json_schemas(
        numbered, ref_template=TEMPLATE.replace("{name}", "{model}"), schema_generator=Generator
    )
    schemas = [(each, found[str(number), each.mode]) for number, each in enumerate(wanted)]
    return definitions.get("$defs", {}), schemas


def _key(wanted: Wanted) -> Any:
    try:
        hash(wanted.hint)
    except TypeError:
        return id(wanted.hint), wanted.mode
    return wanted.hint, wanted.mode


def _named(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or f"{thing!r:.200}"


def _complaint(wanted: Wanted, exc: Exception) -> str:
    return f"{wanted.title}: {_named(wanted.hint)} cannot be described: {str(exc).partition(chr(10))[0]}"
