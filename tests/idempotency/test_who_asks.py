"""What `idempotency` may be, and what keys are told apart by."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws import Application, Request, SimpleRouter
from aiorest_ws.idempotency import Idempotency, token_holder
from aiorest_ws.idempotency.digests import digest, said_in


async def later(request: Any) -> str:
    return "ada"


@pytest.mark.parametrize("value", [True, "ada", 5, Idempotency, later, ["iss"]])
def test_what_says_nobody_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="idempotency must be"):
        Application(SimpleRouter(), idempotency=value)


@pytest.mark.parametrize("value", [None, False, Idempotency(), token_holder])
def test_what_says_somebody_is_taken(value: Any) -> None:
    Application(SimpleRouter(), idempotency=value)


@pytest.mark.parametrize(
    "settings",
    [
        *({"seconds": value} for value in (0, -1, "5", None, True, 86_401, float("nan"), float("inf"))),
        *({"max_keys": value} for value in (0, -1, 1.5, "5", None, True)),
        {"max_reply": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Idempotency(**settings)


def test_who_asks_must_be_a_function() -> None:
    with pytest.raises(TypeError, match="who must be a function"):
        Idempotency(who="ada")  # type: ignore[arg-type]


TEXTS = st.text(max_size=3)


@given(one=st.lists(TEXTS, max_size=3), other=st.lists(TEXTS, max_size=3))
def test_a_digest_is_of_one_list_of_parts(one: list[str], other: list[str]) -> None:
    assert (digest(map(str.encode, one)) == digest(map(str.encode, other))) is (one == other)


@given(one=st.tuples(TEXTS, TEXTS), other=st.tuples(TEXTS, TEXTS))
def test_two_holders_of_tokens_are_never_one(one: tuple[str, str], other: tuple[str, str]) -> None:
    holders = []
    for issuer, subject in (one, other):
        request = Request()
        request.token_payload = {"iss": issuer, "sub": subject}
        holders.append(token_holder(request))
    assert (holders[0] == holders[1]) is (one == other)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)


def turned(value: Any) -> Any:
    """Give `value` with the keys of its objects in another order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@given(args=JSON, data=JSON, other=JSON)
def test_what_was_said_is_the_same_in_any_order_of_keys(args: Any, data: Any, other: Any) -> None:
    def said(args: Any, data: Any) -> bytes:
        return said_in(Request(args=args, data=data))

    assert said(args, data) == said(turned(args), turned(data))
    if repr(turned(other)) != repr(turned(data)) and other != data:
        assert said(args, data) != said(args, other)
    if args != data:
        assert said(args, data) != said(data, args)
