"""A type that a handler asks for → a function that makes its value of what a client sent, or says what is wrong.

Imports msgspec: whoever needs it imports this module when the first annotated handler is registered.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, Protocol, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect as types

from aiorest_ws._speedups.values import is_pydantics
from aiorest_ws.handlers.bounded import Bounded
from aiorest_ws.handlers.decimals import Digits
from aiorest_ws.handlers.faults import faults_of
from aiorest_ws.handlers.kinds import NoCheck, Unknown, infos_of, refuse_unsent
from aiorest_ws.handlers.sieves import Sieve, class_of, sieve_of, wants_digits
from aiorest_ws.handlers.traps import branching, nodes_of

__all__ = ("Check", "adapter_of", "box_of", "check_of", "goes_plainly", "is_for_pydantic_alone", "is_pydantic")


class Check(Protocol):
    """Makes a value of what a client sent, or raises; `exact`: it wants the digits of numbers."""

    exact: bool

    def __call__(self, value: Any) -> Any: ...


def check_of(hint: Any, *, lax: bool = False, many: bool = False, made: bool = False) -> Check:
    """Give the check of `hint`, or raise NoCheck.

    lax     what comes is text that may stand for a number and so on
    many    or a list of such texts
    made    what comes is no JSON, but what a converter made
    """
    if is_pydantic(hint):
        return _pydantic_check(hint, lax=lax)
    infos = [] if made else infos_of(hint)
    refuse_unsent(infos, lax=lax and not many)
    alone = next((class_of(info) for info in infos if is_for_pydantic_alone(info)), None)
    if alone is not None:
        _refuse_beside(alone, infos)
        return _pydantic_check(hint, lax=lax, sieve=sieve_of(infos[0], infos))
    return PlainCheck(hint, infos, lax=lax)


class PlainCheck:
    """Makes a value of a type that msgspec knows.

    exact    it is to be given the digits of numbers, `decimals.Digits`, where they are known
    """

    def __init__(self, hint: Any, infos: list[Any], *, lax: bool) -> None:
        options: dict[str, Any] = {"strict": False} if lax else {}
        if _wants_keys(infos):
            options["str_keys"] = True
        if any(isinstance(info, types.CustomType) for info in infos):
            options["dec_hook"] = made_of_text
        self._box = box_of([("value", hint)], dec_hook=options.get("dec_hook"))
        self._convert = partial(msgspec.convert, **options) if options else msgspec.convert
        keeping = [info for info in infos if _wants_digits(info)]  # each is looked at, and may be refused
        wanted = bool(keeping) or wants_digits(infos)
        self._sieve = sieve_of(infos[0], infos, wanted=wanted) if infos else None
        self._is_finite = lax and _has_floats(infos)
        self.exact = wanted and not lax

    def __call__(self, value: Any) -> Any:
        try:
            if self._sieve is not None:
                value = self._sieve(value)
            value = self._convert({"value": value}, self._box).value
        except (TypeError, ValueError) as exc:
            # A year 10000, a signalling NaN in a set: of some values msgspec does not say itself that they are wrong.
            if isinstance(exc, msgspec.ValidationError) or not _is_raised_here(exc):
                raise
            raise msgspec.ValidationError("Invalid value") from exc
        if self._is_finite:
            _check_finite(value)
        return value


def box_of(fields: list[Any], *, dec_hook: Any = None, **options: Any) -> Any:
    """Give a Struct with these fields: msgspec works out what it has to do once for a Struct, else with every call."""
    try:
        box = msgspec.defstruct("Box", fields, kw_only=True, **options)
        try:
            msgspec.convert(None, box, dec_hook=dec_hook)
        except msgspec.ValidationError:
            pass
    except Exception as exc:
        raise NoCheck(str(exc)) from exc
    return box


_WITH_FIELDS = (types.StructType, types.DataclassType, types.TypedDictType, types.NamedTupleType)


# Annotations of pydantic's that look like classes: what it makes of them is no instance, as msgspec wants it.
_NO_CLASSES = frozenset(
    (
        *("AwareDatetime", "NaiveDatetime", "PastDate", "PastDatetime", "FutureDate", "FutureDatetime"),
        *("EmailStr", "ImportString", "IPvAnyAddress", "IPvAnyInterface", "IPvAnyNetwork", "Json"),
    )
)


def is_for_pydantic_alone(info: Any) -> bool:
    """Tell whether msgspec would leave out some of what is to be checked of `info`."""
    if isinstance(info, types.CustomType):
        cls = class_of(info)
        return cls.__name__ in _NO_CLASSES and cls.__module__.partition(".")[0] == "pydantic"
    if not isinstance(info, _WITH_FIELDS):
        return False
    return is_pydantics(class_of(info)) or _has_foreign_constraints(class_of(info)) or _is_constrained(info.cls)


def _refuse_beside(alone: Any, infos: list[Any]) -> None:
    """Raise NoCheck if pydantic would have to check `alone` inside of what it does not know."""
    if hasattr(alone, "__struct_config__"):
        raise NoCheck(f"`{alone.__qualname__}` has constraints that msgspec does not read: expected msgspec.Meta")
    for cls in (class_of(info) for info in infos if isinstance(info, _WITH_FIELDS)):
        if hasattr(cls, "__struct_config__") or hasattr(cls, "__attrs_attrs__"):
            raise NoCheck(
                f"`{alone.__qualname__}` is checked by pydantic, which does not know `{cls.__qualname__}`: expected a "
                "model of pydantic's in place of one of them"
            )


@cache
def _has_foreign_constraints(cls: Any) -> bool:
    """Tell whether a field of `cls` has a constraint that only pydantic looks at."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # what cannot be resolved msgspec has refused, or does not need
        return False
    return any(_is_constrained(hint) for hint in hints.values())


def _is_constrained(hint: Any) -> bool:
    if any(type(m).__module__.partition(".")[0] in _CONSTRAIN for m in _metadata(hint)):
        return True
    return any(_is_constrained(part) for part in get_args(hint) if not isinstance(part, (str, int, bytes)))


_CONSTRAIN = ("pydantic", "annotated_types")


def goes_plainly(hint: Any, *, lax: bool = False) -> bool:
    """Tell whether `msgspec.convert` without more ado does what the check of `hint` does."""
    if hint in _PLAIN and not lax:
        return True
    if is_pydantic(hint):
        return False
    infos = infos_of(hint)
    if any(map(is_for_pydantic_alone, infos)):
        return False
    if any(isinstance(info, types.CustomType) for info in infos) or sieve_of(infos[0], infos) is not None:
        return False
    return not _wants_keys(infos) and not (lax and _has_floats(infos))


_PLAIN = (Any, str, int, bool, float)


def _wants_keys(infos: list[Any]) -> bool:
    """Tell whether there are objects whose keys are no strings: JSON has them as strings."""
    text = (types.StrType, types.AnyType)
    return any(isinstance(info, types.DictType) and not isinstance(info.key_type, text) for info in infos)


def _has_floats(infos: list[Any]) -> bool:
    return any(isinstance(info, (types.FloatType, types.DecimalType)) for info in infos)


def _is_raised_here(exc: Exception) -> bool:
    """Tell whether no code of the application, which a check may call, stands between its caller and `exc`."""
    return exc.__traceback__ is not None and exc.__traceback__.tb_next is None


def _check_finite(value: Any) -> None:
    """Refuse what JSON has no word for, and `{x:float}` does not take either."""
    from decimal import Decimal
    from math import isfinite

    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            _check_finite(item)
        return
    # A Decimal is asked itself: as a float a signalling NaN is a ValueError, and 1E+400 infinite.
    is_finite = value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or isfinite(value)
    if not is_finite:
        raise msgspec.ValidationError("Expected a finite number")


def _wants_digits(info: Any) -> bool:
    """Tell whether `info`, into which msgspec does not look, is a class of pydantic's that keeps all digits."""
    return isinstance(info, types.CustomType) and is_pydantics(info.cls) and _model_check(info.cls).exact


@cache
def _model_check(cls: Any) -> PydanticCheck:
    return PydanticCheck(cls, lax=False)


def made_of_text(cls: Any, value: Any) -> Any:
    """Make a `cls` of what a client sent: a path, an IP address, a model. It is a `dec_hook` of msgspec."""
    if is_pydantics(cls):
        try:
            return _model_check(cls)(value)
        except ValueError as exc:
            fault = (faults_of(exc, []) or [{"loc": [], "msg": "Invalid value"}])[0]
            raise ValueError(": ".join([*(".".join(map(str, fault["loc"])),), fault["msg"]]).lstrip(": ")) from exc
    if isinstance(value, cls):
        return value  # a default of the handler's
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    return cls(value)


# pydantic


def is_pydantic(hint: Any) -> bool:
    """Tell whether only pydantic can check `hint`: one of its models or types, or a constraint that msgspec ignores."""
    if hasattr(hint, "__get_pydantic_core_schema__") or hasattr(hint, "__pydantic_core_schema__"):
        return True
    if any(type(m).__module__.partition(".")[0] in _CONSTRAIN for m in _metadata(hint)):
        return True
    if hasattr(get_origin(hint), "__struct_config__") or hasattr(get_origin(hint), "__attrs_attrs__"):
        return False  # of which pydantic knows nothing: a model in it is one of its fields
    return any(is_pydantic(part) for part in get_args(hint) if not isinstance(part, (str, int, bytes)))


def _metadata(hint: Any) -> tuple[Any, ...]:
    found = getattr(hint, "__metadata__", ())
    return found if isinstance(found, tuple) else ()


class PydanticCheck:
    """Makes a value of a type that pydantic knows, of JSON and of what MessagePack has beside it.

    exact    as in PlainCheck
    sieve    takes out what nobody may send, where msgspec knows of it
    """

    def __init__(self, hint: Any, *, lax: bool, sieve: Sieve | None = None) -> None:
        try:
            schema = dict(adapter_of(hint).core_schema)  # of a model that waits to be built it is no dict yet
            self._bounded = Bounded(schema)
        except ImportError as exc:  # email-validator, say, is another
            missing = "its constraints are pydantic's, which is not installed" if exc.name == "pydantic" else str(exc)
            raise NoCheck(missing) from None
        except Exception as exc:
            raise NoCheck(str(exc).partition("\n")[0]) from exc
        members = branching(schema)
        if members is not None:
            raise NoCheck(
                f"a union of {' and '.join(members)}, which lead back to it, takes twice as long to check with every "
                f"level that a client sends: expected Field(discriminator=…)"
            )
        self.schema = schema
        self._lax = lax
        self._sieve = sieve
        self.exact = not lax and any(node.get("type") == "decimal" for node in nodes_of(schema))
        self._is_strict: bool | None = None

    def __call__(self, value: Any) -> Any:
        if self._sieve is not None:
            value = self._sieve(value)
        try:
            return self._bounded.validate_python(value)
        except ValueError as exc:
            if self._is_strict is None:
                self._is_strict = any(node.get("strict") for node in nodes_of(self.schema))
            if not self._is_strict:
                raise
            fault = exc
        return self._of_json(value, fault)

    def _of_json(self, value: Any, fault: ValueError) -> Any:
        """Take what is strictly right in JSON: a datetime is a string there, a set an array."""
        from pydantic_core import to_json

        if self._lax:
            return self._bounded.validate_strings(value)
        inexact: set[tuple[Any, ...]] | None = set()
        while True:
            try:
                text = to_json(_written(value, inexact), bytes_mode="utf8", inf_nan_mode="constants")
            except ValueError:
                raise fault from None  # bytes that are no text
            try:
                return self._bounded.validate_json(text, value)
            except ValueError as exc:
                fault = exc
            if not self.exact or inexact is None:
                raise fault
            # A float does not take the text of a number: there it has to be one.
            inexact = {error["loc"] for error in fault.errors()} if not inexact else None  # type: ignore[attr-defined]


def _written(value: Any, inexact: set[tuple[Any, ...]] | None, at: tuple[Any, ...] = ()) -> Any:
    """Give `value` with numbers whose digits are known as texts, but at those places (None: at all) as floats."""
    if isinstance(value, dict):
        return {key: _written(item, inexact, (*at, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_written(item, inexact, (*at, index)) for index, item in enumerate(value)]
    if isinstance(value, Digits):
        return float(value) if inexact is None or at in inexact else value.text
    return value


def _pydantic_check(hint: Any, *, lax: bool, sieve: Sieve | None = None) -> PydanticCheck:
    check = PydanticCheck(hint, lax=lax, sieve=sieve)
    if never_comes(check.schema):
        raise Unknown("no value of it can be made of what a client sends")
    return check


def adapter_of(hint: Any) -> Any:
    """Give what pydantic checks `hint` with, or raise what it has against that."""
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def never_comes(schema: Any) -> bool:
    """Tell whether no JSON at all fits `schema`, of pydantic_core; in doubt something may."""
    kind = schema.get("type")
    if kind in ("callable", "is-instance", "is-subclass", "call", "arguments"):
        return True
    if kind == "dict":
        keys = schema.get("keys_schema", {})
        return keys.get("type") in ("none", "list", "tuple", "dict", "set", "model") or never_comes(keys)
    if kind == "union":
        return all(never_comes(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"])
    if kind in ("model-fields", "typed-dict"):
        return any(_is_required(field) and never_comes(field["schema"]) for field in schema["fields"].values())
    if kind == "dataclass-args":
        return any(_is_required(field) and never_comes(field["schema"]) for field in schema["fields"])
    if kind == "json-or-python":
        return never_comes(schema["python_schema"])
    if kind == "lax-or-strict":
        return never_comes(schema["lax_schema"]) and never_comes(schema["strict_schema"])
    if kind in ("list", "set", "frozenset", "model", "dataclass", "definitions"):
        inner = schema.get("items_schema") or schema.get("schema") or {}
        return isinstance(inner, dict) and never_comes(inner)
    return False


def _is_required(field: Any) -> bool:
    has_default = field["schema"].get("type") == "default"
    return not has_default and bool(field.get("required", True) and field.get("init", True))
