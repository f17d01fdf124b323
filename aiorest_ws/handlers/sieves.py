"""What a client sent for a type of msgspec's → the same, without what nobody may send, and with the digits it wrote.

msgspec sets every field of a dataclass or attrs class, those with `init=False` too, and takes the shortest digits of a
float for those of a Decimal; and it makes sets and dicts of whatever hashes. Where a type has none of these, there is
no sieve, and nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from threading import local
from typing import Any, get_origin

from msgspec import ValidationError
from msgspec import inspect as types

from aiorest_ws.callables.annotations import parameters_of
from aiorest_ws.handlers.decimals import MOST_DECIMALS, Refusal, decimal_of, refusal, without_digits
from aiorest_ws.handlers.traps import keeps_apart, trap_in

__all__ = ("Sieve", "class_of", "closed_fields", "sieve_of", "wants_digits")

Sieve = Callable[[Any], Any]


def wants_digits(infos: Iterable[Any]) -> bool:
    """Tell whether one of these types keeps all the digits of a number."""
    return any(isinstance(info, types.DecimalType) for info in infos)


def sieve_of(info: Any, infos: Iterable[Any], *, wanted: bool = False) -> Sieve | None:
    """Give what has to be done to a value before msgspec makes an `info` of it; `infos` are all types in that.

    `wanted`: what is to be made of a `types.CustomType` gets the digits of numbers, too.
    """
    if not wanted and not any(_is_sifted(i) for i in infos):
        return None
    sieves = _Sieves(wanted or wants_digits(infos))
    sift = sieves.of(info)

    def sieve(value: Any) -> Any:
        sieves.decimals.left = MOST_DECIMALS
        try:
            return sift(value)
        except Refusal as exc:
            raise ValidationError(f"{exc} - at `$.value{''.join(reversed(exc.steps))}`") from None

    return sieve


def _is_sifted(info: Any) -> bool:
    if isinstance(info, types.DataclassType):
        return bool(closed_fields(class_of(info)))
    return isinstance(info, types.DecimalType) or keeps_apart(info)


def class_of(info: Any) -> Any:
    """Give the class of a type of msgspec's, of a generic one without its arguments."""
    return get_origin(info.cls) or info.cls


@cache
def closed_fields(cls: Any) -> frozenset[str]:
    """Give the fields that nobody may send: what `__init__` does not take, and private ones that have a default."""
    if is_dataclass(cls):
        found = {field.name: (field.name, field.init) for field in fields(cls)}
    else:
        attributes = getattr(cls, "__attrs_attrs__", ())
        found = {attribute.name: (attribute.alias, attribute.init) for attribute in attributes}
    parameters = parameters_of(cls.__init__)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        taken = {parameter.name for parameter in parameters}
        found = {name: (alias, alias in taken) for name, (alias, _) in found.items()}
    required = {field.name for field in types.type_info(cls).fields if field.required}  # type: ignore[attr-defined]
    return frozenset(
        name for name, (_, is_taken) in found.items() if not is_taken or (name[:1] == "_" and name not in required)
    )


class _Decimals(local):
    """How many more of them the message that this thread looks at may have."""

    left = 0

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise refusal(f"Expected at most {MOST_DECIMALS} Decimals in a message")


class _Sieves:
    """Makes the sieves of a type and of those in it: functions, so that a value costs a call, and a plain one none.

    What has the wrong kind for its type goes through as it is: msgspec refuses it.
    """

    def __init__(self, exact: bool) -> None:
        """`exact`: there may be `Digits` in values, which have to be floats where nobody asked for more."""
        self._rest: Sieve = without_digits if exact else _as_it_is
        self.decimals = decimals = _Decimals()

        def decimal(value: Any) -> Any:
            decimals.take(1)
            return decimal_of(value)

        self._decimal = decimal
        self._made: dict[int, tuple[Any, Sieve]] = {}  # by the identity of the type, which is kept with it

    def of(self, info: Any) -> Sieve:
        """Give the sieve of `info`, `_as_it_is` where there is nothing to do."""
        if isinstance(info, types.Metadata):
            return self.of(info.type)
        if id(info) not in self._made:
            if not _has_parts(info):
                return self._of_leaf(info)

            def later(value: Any) -> Any:
                return self._made[id(info)][1](value)

            self._made[id(info)] = info, later  # it may contain itself, and then calls what is made of it by then
            self._made[id(info)] = info, self._of_parts(info)
        return self._made[id(info)][1]

    def _of_leaf(self, info: Any) -> Sieve:
        if isinstance(info, types.DecimalType):
            return self._decimal
        return _as_it_is if isinstance(info, types.CustomType) else self._rest  # what makes it looks at it

    def _of_parts(self, info: Any) -> Sieve:
        if isinstance(info, types.UnionType):
            return self._of_union(info)
        if isinstance(info, types.DictType):
            return self._of_dict(info)
        if isinstance(info, types.StructType) and info.array_like:
            return self._of_places(info, [types.AnyType()] * (info.tag is not None) + [f.type for f in info.fields])
        if isinstance(info, _WITH_FIELDS):
            return self._of_fields(info)
        if isinstance(info, types.TupleType):
            return self._of_places(info, info.item_types)
        if isinstance(info, types.NamedTupleType):
            return self._of_places(info, [field.type for field in info.fields])
        return self._of_series(info)

    def _of_series(self, info: Any) -> Sieve:
        sift = self.of(info.item_type)
        is_trap = keeps_apart(info)
        if sift is _as_it_is and not is_trap:
            return _as_it_is

        def series(value: Any) -> Any:
            if not isinstance(value, (list, tuple)):
                return value
            if sift is self._decimal and _are_integers(value):
                self.decimals.take(len(value))
                sifted = value
            else:
                sifted = value if sift is _as_it_is else _sift_all(sift, value)
            if is_trap:
                _refuse_trap(info, sifted)
            return sifted

        return series

    def _of_places(self, info: Any, parts: Iterable[Any]) -> Sieve:
        sifts = [self.of(part) for part in parts]
        if all(sift is _as_it_is for sift in sifts) and self._rest is _as_it_is:
            return _as_it_is

        def places(value: Any) -> Any:
            if not isinstance(value, (list, tuple)):
                return value
            if len(value) > len(sifts):
                known = _sift_each(sifts, value[: len(sifts)])
                return known + [self._rest(item) for item in value[len(sifts) :]]
            return _sift_each(sifts, value)

        return places

    def _of_dict(self, info: Any) -> Sieve:
        sift = self.of(info.value_type)
        sift_key = self._decimal if isinstance(info.key_type, types.DecimalType) else _as_it_is
        is_trap = keeps_apart(info)
        if sift is _as_it_is and not is_trap and sift_key is _as_it_is:
            return _as_it_is

        def members(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            if sift_key is not _as_it_is:
                for key in value:
                    sift_key(key)
            if is_trap:
                _refuse_trap(info, value)
            return value if sift is _as_it_is else _sift_values(sift, value)

        return members

    def _of_fields(self, info: Any) -> Sieve:
        sifts = {field.encode_name: self.of(field.type) for field in info.fields}
        closed = closed_fields(class_of(info)) if isinstance(info, types.DataclassType) else frozenset()
        if not closed and self._rest is _as_it_is and all(sift is _as_it_is for sift in sifts.values()):
            return _as_it_is

        def fields_of(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            found = {}
            name = ""
            try:
                for name, item in value.items():
                    if name not in closed:
                        found[name] = sifts.get(name, self._rest)(item)
            except Refusal as exc:
                exc.steps.append(f".{name}")
                raise
            return found

        return fields_of

    def _of_union(self, info: Any) -> Sieve:
        choices = [(part, self.of(part)) for part in info.types]
        if all(sift is _as_it_is for _, sift in choices) and self._rest is _as_it_is:
            return _as_it_is
        keeping = next((sift for part, sift in choices if isinstance(part, _KEEPING)), self._rest)
        numbers = self._rest if any(isinstance(part, types.FloatType) for part in info.types) else keeping
        integers = self._rest if any(isinstance(part, types.IntType) for part in info.types) else numbers
        texts = next((sift for part, sift in choices if isinstance(part, types.DecimalType)), _as_it_is)

        def chosen(value: Any) -> Any:
            if isinstance(value, str):
                return texts(value)
            if isinstance(value, float):
                return numbers(value)
            if type(value) is int:
                return integers(value)
            for part, sift in choices:
                if _fits(part, value):
                    return sift(value)
            return self._rest(value)

        return chosen


def _as_it_is(value: Any) -> Any:
    return value


_WITH_FIELDS = (types.StructType, types.DataclassType, types.TypedDictType)
_SERIES = (types.ListType, types.SetType, types.FrozenSetType, types.VarTupleType, types.CollectionType)
_ARRAYS = (*_SERIES, types.TupleType, types.NamedTupleType, types.StructType)
_KEEPING = (types.DecimalType, types.CustomType)


def _has_parts(info: Any) -> bool:
    return isinstance(info, (types.UnionType, types.DictType, *_WITH_FIELDS, *_ARRAYS))


def _fits(part: Any, value: Any) -> bool:
    """Tell whether an object or an array may be meant for this part of a union."""
    tag = getattr(part, "tag", None)
    if isinstance(value, dict):
        is_kind = isinstance(part, (types.DictType, types.CustomType, *_WITH_FIELDS))
        return is_kind and (tag is None or value.get(part.tag_field) == tag)
    if isinstance(value, (list, tuple)):
        return isinstance(part, (*_ARRAYS, types.CustomType)) and (tag is None or value[:1] == [tag])
    return False


def _are_integers(values: Any) -> bool:
    """Tell whether these are integers of 64 bits throughout, all of whose digits msgspec takes."""
    return {int} == set(map(type, values)) and min(values) >= -(2**63) and max(values) < 2**64


def _sift_all(sift: Sieve, items: Iterable[Any]) -> list[Any]:
    sifted: list[Any] = []
    try:
        for item in items:
            sifted.append(sift(item))  # noqa: PERF401 (its length tells where it ended)
    except Refusal as exc:
        exc.steps.append(f"[{len(sifted)}]")
        raise
    return sifted


def _sift_each(sifts: list[Sieve], items: Iterable[Any]) -> list[Any]:
    sifted: list[Any] = []
    try:
        for sift, item in zip(sifts, items, strict=False):
            sifted.append(sift(item))
    except Refusal as exc:
        exc.steps.append(f"[{len(sifted)}]")
        raise
    return sifted


def _sift_values(sift: Sieve, members: dict[Any, Any]) -> dict[Any, Any]:
    try:
        return {key: sift(item) for key, item in members.items()}
    except Refusal as exc:
        exc.steps.append("[...]")
        raise


def _refuse_trap(info: Any, values: Any) -> None:
    trap = trap_in(info, values)
    if trap is not None:
        raise refusal(trap)
