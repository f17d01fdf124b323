"""Envelope → `Request`, result → `Response`: what users may read, write and count on, on both implementations."""

from __future__ import annotations

import gc
import weakref
from inspect import getdoc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aiorest_ws
from aiorest_ws import _speedups, wrappers
from aiorest_ws.exceptions import BaseAPIException, ValidationError

if TYPE_CHECKING:
    from tests.swapping import Impl

READ_ONLY = ("method", "url", "args", "data", "event_name", "id", "extra", "form", "route", "status")
RESERVED = ("app", "connection", "form", "route", "session", "state", "token_payload", "user")
MEMBERS = (*READ_ONLY, *RESERVED, "get_argument", "to_representation", "url_for")
UNDERSCORED = (
    "__class__",
    "__dict__",
    "__init__",
    "__getattr__",
    "__slots__",
    "_method",
    "_url",
    "_args",
    "_extra",
    "_pipeline",
    "_plan",
    "_status",
    "_private",
    "__anything__",
)

json_values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.text())
)


def wrap(impl: Impl, envelope: dict[str, Any], connection: Any = None) -> Any:
    return impl.wrappers.wrap(envelope, impl.codec.TEXT_JSON, connection)


# Request: what the client sent


def test_request_shows_what_was_sent(impl: Impl) -> None:
    envelope = {"method": "GET", "url": "/a", "args": {"x": 1}, "data": [1], "event_name": {"a": 1}, "id": "7"}
    request = wrap(impl, envelope)
    assert {name: getattr(request, name) for name in envelope} == envelope
    assert request.extra == {}


def test_what_was_not_sent_is_none_and_args_are_empty(impl: Impl) -> None:
    request = wrap(impl, {})
    for name in ("method", "url", "data", "event_name", "id", "route", "connection", "user", "token_payload"):
        assert getattr(request, name) is None, name
    assert request.args == {}
    assert request.extra == {}
    assert request.status == 200
    assert request.form == impl.codec.TEXT_JSON


def test_args_sent_as_null_stay_none(impl: Impl) -> None:
    assert wrap(impl, {"args": None}).args is None


def test_absent_args_are_one_dict_of_this_request_alone(impl: Impl) -> None:
    first, second = wrap(impl, {}), wrap(impl, {})
    first.args["x"] = 1
    assert first.args == {"x": 1}
    assert first.get_argument("x") == 1
    assert second.args == {}


@pytest.mark.parametrize("args", [[1], "text", 5, True, 1.5, [], "", 0, False])
def test_types_of_args_are_not_checked_here(impl: Impl, args: Any) -> None:
    request = wrap(impl, {"args": args})
    assert request.args == args
    assert request.get_argument("x") is None


@pytest.mark.parametrize(
    ("args", "expected"), [({}, None), ({"x": 0}, 0), ({"x": None}, None), ({"y": 1}, None), (None, None)]
)
def test_get_argument_gives_the_value_or_none(impl: Impl, args: Any, expected: Any) -> None:
    assert wrap(impl, {"args": args}).get_argument("x") == expected


@pytest.mark.parametrize("event_name", [None, "e1", 0, False, {"a": [1]}, [None]])
def test_to_representation_gives_the_event_name(impl: Impl, event_name: Any) -> None:
    assert wrap(impl, {"event_name": event_name}).to_representation() == {"event_name": event_name}


@pytest.mark.parametrize("name", READ_ONLY)
def test_what_was_sent_is_read_only(impl: Impl, name: str) -> None:
    request = wrap(impl, {"method": "GET", "url": "/"})
    before = getattr(request, name)
    with pytest.raises(AttributeError):
        setattr(request, name, "changed")
    with pytest.raises(AttributeError):
        delattr(request, name)
    assert getattr(request, name) == before


def test_request_is_made_of_keywords_too(impl: Impl) -> None:
    request = impl.wrappers.Request(method="GET", url="/a", args={"x": 1}, token="t")
    assert (request.method, request.url, request.args, request.token) == ("GET", "/a", {"x": 1}, "t")
    assert (request.data, request.event_name, request.id, request.connection) == (None, None, None, None)
    assert impl.wrappers.Request().args == {}
    with pytest.raises(TypeError):
        impl.wrappers.Request({"method": "GET"})


def test_request_may_be_subclassed(impl: Impl) -> None:
    class Custom(impl.wrappers.Request):  # type: ignore[misc, name-defined]
        @property
        def upper(self) -> str:
            return str(self.method).upper()

    request = Custom(method="get", token="t")
    assert isinstance(request, impl.wrappers.Request)
    assert (request.upper, request.token) == ("GET", "t")
    request.user = request.other = 1
    assert (request.user, request.other) == (1, 1)


def test_repr_names_method_and_url_and_is_bounded(impl: Impl) -> None:
    assert repr(wrap(impl, {"method": "GET", "url": "/a"})) == "<Request 'GET' '/a'>"
    assert repr(wrap(impl, {})) == "<Request None None>"
    assert len(repr(wrap(impl, {"method": "M" * 1000, "url": "u" * 100_000}))) < 300
    assert "secret" not in repr(wrap(impl, {"token": "secret", "args": {"password": "secret"}, "data": "secret"}))


def test_connection_and_form_are_as_given(impl: Impl) -> None:
    connection = object()
    request = impl.wrappers.wrap({}, impl.codec.BINARY_BASE64, connection)
    assert request.connection is connection
    assert request.form == impl.codec.BINARY_BASE64


# Request: unknown keys


def test_unknown_keys_are_in_extra_and_readable_as_attributes(impl: Impl) -> None:
    request = wrap(impl, {"method": "GET", "token": "t", "n": None, "with space": 1, "é": 2, "": 3})
    assert request.token == "t"
    assert request.n is None
    assert getattr(request, "with space") == 1
    assert request.é == 2
    assert request.extra == {"token": "t", "n": None, "with space": 1, "é": 2, "": 3}


def test_known_keys_are_not_in_extra(impl: Impl) -> None:
    envelope = dict.fromkeys(("method", "url", "args", "data", "event_name", "id"), 1)
    assert wrap(impl, envelope).extra == {}


def test_one_unknown_key_is_had_without_the_others(impl: Impl) -> None:
    request = wrap(impl, {"method": "GET", "token": "t", "n": None})
    for _ in range(2):
        assert request.get_extra("token") == "t"
        assert request.get_extra("n") is request.get_extra("missing") is request.get_extra("method") is None
        request.extra["late"] = 1  # from now on there is a dict of them
    assert request.get_extra("late") == 1
    assert impl.wrappers.blank(0, None).get_extra("token") is None


@pytest.mark.parametrize("name", ["token", "user_", "x"])
def test_a_missing_attribute_is_an_attribute_error_that_names_it(impl: Impl, name: str) -> None:
    request = wrap(impl, {"method": "GET"})
    with pytest.raises(AttributeError, match=f"request has no attribute '{name}'"):
        getattr(request, name)
    assert getattr(request, name, "default") == "default"
    assert not hasattr(request, name)


@pytest.mark.parametrize("name", sorted(set(MEMBERS) - {"method", "url", "args", "data", "event_name", "id"}))
def test_no_key_shadows_a_real_attribute(impl: Impl, name: str) -> None:
    untouched, request = wrap(impl, {}), wrap(impl, {name: "from the wire"})
    expected = getattr(untouched, name, "absent")
    found = getattr(request, name, "absent")
    if name == "extra":
        assert found == {"extra": "from the wire"}
    elif callable(expected):
        assert callable(found)
        assert found.__qualname__ == expected.__qualname__
    else:
        assert found == expected
    assert request.extra == {name: "from the wire"}


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_never_come_from_the_wire(impl: Impl, name: str) -> None:
    assert getattr(wrap(impl, {name: "from the wire"}), name, None) != "from the wire"


@pytest.mark.parametrize("name", UNDERSCORED)
def test_names_with_an_underscore_never_come_from_the_wire(impl: Impl, name: str) -> None:
    """`__class__`, `_method` and the like took the original down for every client (S1)."""
    request = wrap(impl, {"method": "GET", name: "from the wire"})
    assert getattr(request, name, None) != "from the wire"
    assert request.extra == {name: "from the wire"}
    assert type(request) is impl.wrappers.Request
    assert request.method == "GET"
    assert wrap(impl, {"method": "PUT"}).method == "PUT"


def test_keys_of_one_request_are_seen_by_no_other(impl: Impl) -> None:
    first = wrap(impl, {"token": "t", "to_representation": 1})
    first.user = first.anything = "set"
    second = wrap(impl, {})
    assert first.token == "t"
    assert not hasattr(second, "token")
    assert not hasattr(second, "anything")
    assert second.user is None
    assert not hasattr(impl.wrappers.Request, "token")


def test_many_requests_in_a_row_start_empty(impl: Impl) -> None:
    """Instances may be recycled: nothing of the last one may be left."""
    for number in range(500):
        request = wrap(impl, {"method": number, "token": number, "id": number})
        assert request.user is None
        assert request.token_payload is None
        assert request.route is None
        assert request.status == 200
        assert "note" not in vars(request)
        request.user = request.token_payload = request.note = number
        assert (request.method, request.token, request.note) == (number, number, number)


def test_a_middleware_may_set_any_attribute_that_is_not_the_clients(impl: Impl) -> None:
    request = wrap(impl, {"token": "from the wire"})
    request.user = request.token_payload = request.connection = request.whatever = "set"
    for name in ("user", "token_payload", "connection", "whatever"):
        assert getattr(request, name) == "set"
    request.token = "cleaned"
    assert request.token == "cleaned"
    assert request.extra == {"token": "from the wire"}
    del request.token
    assert request.token == "from the wire"


@pytest.mark.parametrize("name", ["session", "state", "app"])
def test_a_middleware_may_set_reserved_names(impl: Impl, name: str) -> None:
    request = wrap(impl, {name: "from the wire"})
    setattr(request, name, "set")
    assert getattr(request, name) == "set"


def test_methods_of_one_request_cannot_be_replaced_for_another(impl: Impl) -> None:
    wrap(impl, {"get_argument": 1, "to_representation": 2, "__init__": 3})
    request = wrap(impl, {"args": {"x": 1}, "event_name": "e"})
    assert request.get_argument("x") == 1
    assert request.to_representation() == {"event_name": "e"}


@given(st.dictionaries(st.text() | st.sampled_from([*MEMBERS, *UNDERSCORED]), json_values))
def test_no_envelope_changes_what_a_request_is(impl: Impl, envelope: dict[str, Any]) -> None:
    request = wrap(impl, dict(envelope))
    assert type(request) is impl.wrappers.Request
    assert request.extra == {k: v for k, v in envelope.items() if k not in READ_ONLY[:6]}
    assert request.method == envelope.get("method")
    assert request.args == envelope.get("args", {})
    assert request.to_representation() == {"event_name": envelope.get("event_name")}
    assert (request.user, request.connection, request.token_payload) == (None, None, None)
    for name, value in request.extra.items():
        if name[:1] != "_" and name not in MEMBERS:
            assert getattr(request, name) == value


def test_a_request_is_freed_with_its_last_reference(impl: Impl) -> None:
    class Witness:
        pass

    gc.disable()
    try:
        witness = Witness()
        gone = weakref.ref(witness)
        request = wrap(impl, {"token": witness}, witness)
        request.user = request.anything = witness
        assert request.extra
        del witness, request
        assert gone() is None
    finally:
        gc.enable()


def test_a_request_in_a_cycle_is_collected(impl: Impl) -> None:
    class Witness:
        pass

    witness = Witness()
    gone = weakref.ref(witness)
    request = wrap(impl, {"token": witness})
    request.user = request.connection = request.itself = request
    del witness, request
    gc.collect()
    assert gone() is None


# Response


def test_response_holds_data(impl: Impl) -> None:
    response = impl.wrappers.Response()
    assert response.content == {}
    assert response.status == 200
    response.content = [1]
    assert response.content == {"data": [1]}
    response.content = None
    assert response.content == {"data": None}
    assert impl.wrappers.Response({"a": 1}, status=201).content == {"data": {"a": 1}}
    assert impl.wrappers.Response(None).content == {"data": None}


def test_response_wraps_an_exception(impl: Impl) -> None:
    response = impl.wrappers.Response()
    response.wrap_exception(BaseAPIException("no"))
    assert response.content == {"detail": "no"}
    response = impl.wrappers.Response()
    response.wrap_exception(ValidationError({"name": ["taken"]}))
    assert response.content == {"detail": {"name": ["taken"]}}


def test_response_takes_what_it_repeats_of_a_request(impl: Impl) -> None:
    response = impl.wrappers.Response(1)
    response.append_request(wrap(impl, {"event_name": "e"}))
    assert response.content == {"data": 1, "event_name": "e"}


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_response_takes_a_success_status(impl: Impl, status: int) -> None:
    assert impl.wrappers.Response(1, status=status).status == status


@pytest.mark.parametrize("status", [0, 100, 199, 300, 404, 500, -200, 2**31, 2**64, "200", 200.0, None, True])
def test_response_refuses_any_other_status(impl: Impl, status: Any) -> None:
    with pytest.raises(ValueError, match=r"^status must be an integer from 200 to 299, got "):
        impl.wrappers.Response(1, status=status)


def test_response_takes_status_by_keyword_only(impl: Impl) -> None:
    with pytest.raises(TypeError):
        impl.wrappers.Response(1, 201)


# What typing in a .pxd could change silently (design §5)


class Text(str):
    __slots__ = ()


class Mapping(dict):  # type: ignore[type-arg]
    pass


def test_subclasses_of_str_are_taken_as_arguments(impl: Impl) -> None:
    request = wrap(impl, {"method": Text("GET"), "url": Text("/"), "args": {"x": 1}, "token": 1})
    assert request.get_argument(Text("x")) == 1
    assert getattr(request, Text("token")) == 1
    assert request.method == "GET"


def test_subclasses_of_dict_are_taken_as_args(impl: Impl) -> None:
    request = impl.wrappers.Request(args=Mapping(x=1))
    assert request.get_argument("x") == 1


def test_undeclared_attributes_stay(impl: Impl) -> None:
    request = wrap(impl, {})
    request.undeclared = 1
    assert request.undeclared == 1
    assert vars(request) == {"undeclared": 1}


def test_an_undeclared_attribute_of_a_response_is_refused(impl: Impl) -> None:
    """`response.staus = 201` must not pass in silence."""
    with pytest.raises(AttributeError):
        impl.wrappers.Response().staus = 201


@pytest.mark.parametrize("number", [2**31, 2**63, 2**64 - 1, -(2**63), 2**200])
def test_integers_do_not_overflow(impl: Impl, number: int) -> None:
    request = wrap(impl, {"id": number, "data": number, "token": number, "method": number})
    assert (request.id, request.data, request.token, request.method) == (number,) * 4


# Both implementations, and the names that users import


def test_the_two_implementations_have_the_same_members(both: tuple[Impl, Impl]) -> None:
    pure, compiled = both
    for name in ("Request", "Response"):
        members = [{member for member in dir(getattr(i.wrappers, name)) if member[0] != "_"} for i in (pure, compiled)]
        assert members[0] == members[1]
        for member in members[0]:
            docs = [getattr(getattr(i.wrappers, name), member).__doc__ for i in (pure, compiled)]
            assert bool(docs[0]) == bool(docs[1]), member
    assert getdoc(compiled.wrappers.Request) == getdoc(pure.wrappers.Request)  # 3.13 dedents it


@given(st.dictionaries(st.text(), json_values), st.text())
def test_pure_and_compiled_requests_read_alike(both: tuple[Impl, Impl], envelope: dict[str, Any], name: str) -> None:
    def read(impl: Impl, name: str) -> Any:
        try:
            value = getattr(wrap(impl, dict(envelope)), name)
        except Exception as exc:
            return type(exc), str(exc)
        return None if callable(value) else value

    # Where each keeps its own state, behind an underscore, is its own business.
    for key in (key for key in (*envelope, *MEMBERS, name) if key[:1] != "_"):
        assert read(both[0], key) == read(both[1], key)
    assert repr(wrap(both[0], envelope)) == repr(wrap(both[1], envelope))


def test_users_get_the_implementation_that_was_chosen() -> None:
    assert wrappers.Request is _speedups.Request is aiorest_ws.Request
    assert wrappers.Response is _speedups.Response is aiorest_ws.Response
    assert wrappers.Request.__module__ == f"aiorest_ws._speedups.wrappers{'_c' * _speedups.COMPILED}"
    assert wrappers.Request(method="GET").form == wrappers.TEXT_JSON


@pytest.mark.parametrize(
    ("rest", "extra"),
    [
        (b'"token":"t"', {"token": "t"}),
        (b'"token":null', {"token": None}),
        (b'"token":7', {"token": 7}),
        (b'"token":{"a":[1]}', {"token": {"a": [1]}}),
        (b'"token":"t","token":"u"', {"token": "u"}),
        (b'"token":"t","x":1', {"token": "t", "x": 1}),
        (b'"x":1,"token":"t"', {"token": "t", "x": 1}),
        (b'"token":"\\u0074"', {"token": "t"}),
        (b'"token":"%s"' % (b"t" * 600), {"token": "t" * 600}),
        (b'"tokem":"t"', {"tokem": "t"}),
    ],
    ids=lambda value: str(value)[:24],
)
def test_token_is_one_of_the_further_keys(impl: Impl, rest: bytes, extra: dict[str, Any]) -> None:
    request = impl.envelope.read(b'{"method":"GET","url":"/a",' + rest + b',"id":1}', False, None)
    assert (request.method, request.url, request.id, request.args) == ("GET", "/a", 1, {})
    assert request.extra == extra
    assert request.get_extra("token") == extra.get("token")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("headers", "request.connection.headers"),
        ("cookies", "request.connection.cookies"),
        ("client", "request.connection.peer"),
        ("query_params", "request.args, or request.connection.query of the handshake"),
        ("query", "request.args, or request.connection.query of the handshake"),
        ("json", "request.data"),
        ("body", "request.data"),
        ("path", "request.url, or request.connection.path of the handshake"),
        ("session", "request.connection.session"),
        ("send_event", "request.connection.send_event"),
    ],
)
def test_attribute_of_other_frameworks_says_where_it_is(impl: Impl, name: str, where: str) -> None:
    request = impl.wrappers.Request()
    assert not hasattr(request, name)
    with pytest.raises(AttributeError) as raised:
        getattr(request, name)
    assert str(raised.value) == f"request has no attribute {name!r}, look for {where}"


@pytest.mark.parametrize("name", ["headers", "cookies", "client", "query_params"])
def test_what_a_client_sends_is_not_taken_for_what_the_server_knows(impl: Impl, name: str) -> None:
    request = impl.wrappers.wrap({"method": "GET", name: "sent"}, 0, None)
    assert not hasattr(request, name)
    assert request.extra[name] == request.get_extra(name) == "sent"
