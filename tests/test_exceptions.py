"""Texts, close codes and statuses: the contract's table (1.5), byte for byte."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import pytest

import aiorest_ws
from aiorest_ws import exceptions
from aiorest_ws.exceptions import (
    BaseAPIException,
    BaseAuthException,
    HTTPError,
    InvalidArguments,
    NotSpecifiedError,
    NotSpecifiedHandler,
    ValidationError,
)
from aiorest_ws.portable import Portable
from aiorest_ws.testing import ConnectionClosed, HandshakeRefused

# class, close code of 1.1.1, status on the wire, default detail
TABLE: list[tuple[str, int, int, str]] = [
    ("BaseAPIException", 1002, 400, "A server error occurred."),
    ("EndpointValueError", 1002, 400, "Incorrect endpoint. Check path to your API."),
    ("IncorrectArgument", 1003, 422, "Check `args` in query on errors and try again."),
    ("IncorrectMethodNameType", 1002, 400, "Method name should be a string type."),
    (
        "InvalidHandler",
        1002,
        400,
        "Received handler isn't correct. It shall be function or class, inherited from the MethodBasedView class.",
    ),
    ("InvalidPathArgument", 1002, 400, "Received path value not valid."),
    (
        "InvalidRenderer",
        1002,
        500,
        "Attribute `renderers` should be defined as list or tuple of inherited from BaseSerializer classes.",
    ),
    ("NotImplementedMethod", 1002, 500, "Error occurred in not implemented method."),
    ("NotSpecifiedError", 1002, 400, "Not specified parameter."),
    ("NotSpecifiedHandler", 1002, 404, "For URL, typed in request, handler not specified."),
    ("NotSpecifiedMethodName", 1002, 400, "In query not specified `method` argument."),
    ("NotSpecifiedURL", 1002, 400, "In query not specified `url` argument."),
    ("NotSupportedArgumentType", 1003, 400, "Check your arguments on supported types."),
    ("SerializerError", 1002, 500, "Error has occurred inside serializer class."),
    ("BaseAuthException", 1002, 401, "Error occurred in the authentication process."),
    ("PermissionDeniedException", 1002, 403, "Permission denied: user doesn't have enough rights."),
    # New in 2.0
    ("MethodNotAllowed", 1002, 405, "For URL, typed in request, handler not specified."),
    ("IncorrectURL", 1002, 400, "URL should be a string type."),
    ("InvalidMessage", 1003, 400, "request is not valid"),
    ("HandlerFailed", 1011, 500, "A server error occurred."),
    ("NotAuthenticated", 1008, 401, "Authentication is required."),
    ("TooManyRequests", 1008, 429, "Too many requests."),
    ("ServerStopping", 1001, 503, "The server is shutting down."),
    ("BrokerUnavailable", 1011, 503, "Subscriptions are not available now."),
    ("RequestTimeout", 1011, 504, "The request took too long."),
]
API_EXCEPTIONS = [
    getattr(exceptions, name) for name in exceptions.__all__ if issubclass(getattr(exceptions, name), BaseAPIException)
]

WITH_DETAILS = (HTTPError, InvalidArguments, ValidationError)  # of their own kind, and required


@pytest.mark.parametrize(("name", "code", "status", "detail"), TABLE, ids=[row[0] for row in TABLE])
def test_an_error_has_its_code_status_and_text(name: str, code: int, status: int, detail: str) -> None:
    error = getattr(exceptions, name)()
    assert isinstance(error, BaseAPIException)
    assert (error.status_code, error.status, error.detail) == (code, status, detail)
    assert str(error) == detail


def test_the_table_is_complete() -> None:
    others = {cls.__name__ for cls in WITH_DETAILS}
    assert {row[0] for row in TABLE} | others == {cls.__name__ for cls in API_EXCEPTIONS}


def test_the_tree_in_the_docstring_is_the_one_in_the_code() -> None:
    assert exceptions.__doc__ is not None
    for name in exceptions.__all__:
        assert name in exceptions.__doc__, name


@pytest.mark.parametrize(
    "cls", [cls for cls in API_EXCEPTIONS if cls not in WITH_DETAILS], ids=lambda cls: cls.__name__
)
@pytest.mark.parametrize(
    ("detail", "text"),
    [("mine", "mine"), ("", ""), (b"gr\xc3\xbcn", "grün"), (b"\xff", "\ufffd"), (5, "5"), (["a"], "['a']")],
)
def test_a_detail_is_kept_as_text(cls: type[BaseAPIException], detail: Any, text: str) -> None:
    assert cls(detail).detail == text
    assert str(cls(detail)) == text


def test_a_detail_of_another_exception_is_its_text() -> None:
    assert BaseAPIException(ValueError("mine")).detail == "mine"


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ("msg", ["msg"]),
        (b"msg", ["msg"]),
        (5, ["5"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([], []),
        ({"name": ["taken"]}, {"name": ["taken"]}),
        ({}, {}),
    ],
)
def test_a_validation_error_makes_a_list_of_text_and_keeps_lists_and_dicts(detail: Any, kept: Any) -> None:
    error = ValidationError(detail)
    assert error.detail == kept
    assert error.status == 422
    assert error.status_code == 1002


def test_a_validation_error_needs_a_detail() -> None:
    with pytest.raises(TypeError):
        ValidationError()  # type: ignore[call-arg]


def test_the_families_of_the_original() -> None:
    for name in ("NotSpecifiedHandler", "NotSpecifiedMethodName", "NotSpecifiedURL"):
        assert issubclass(getattr(exceptions, name), NotSpecifiedError)
    assert issubclass(exceptions.MethodNotAllowed, NotSpecifiedHandler)
    assert issubclass(exceptions.PermissionDeniedException, BaseAuthException)
    assert issubclass(exceptions.NotAuthenticated, BaseAuthException)


def test_faults_of_arguments_are_kept_as_a_list() -> None:
    faults = [{"loc": ["args", "limit"], "msg": "Expected `int`, got `str`"}]
    error = InvalidArguments(faults)
    assert isinstance(error, exceptions.IncorrectArgument)
    assert (error.status, error.status_code, error.detail) == (422, 1003, faults)
    assert "limit" in str(error)


def test_what_keeps_an_application_from_starting_is_no_reply() -> None:
    assert not issubclass(exceptions.ImproperlyConfigured, BaseAPIException)
    error = exceptions.RouterNotDefined()
    assert isinstance(error, AssertionError)
    assert str(error) == "Argument `router` must be defined for the Application."


def test_a_subclass_sets_what_it_likes() -> None:
    class Teapot(BaseAPIException):
        status = 418
        default_detail = "I am a teapot."

    assert (Teapot().status, Teapot().detail, Teapot("short").detail) == (418, "I am a teapot.", "short")
    assert Teapot().status_code == 1002


def test_a_subclass_that_does_not_call_our_init_has_a_detail() -> None:
    class Silent(BaseAPIException):
        default_detail = "silent"

        def __init__(self, code: int, *, more: int = 0) -> None:
            self.code = code

    assert Silent(5, more=1).detail == "silent"
    assert str(Silent(5)) == "silent"


def test_errors_can_be_copied_and_pickled() -> None:
    for cls in API_EXCEPTIONS:
        error = cls(409, "mine") if cls is HTTPError else cls([{}]) if cls is InvalidArguments else cls("mine")
        for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
            assert type(twin) is cls
            assert (twin.status, twin.detail) == (error.status, error.detail)


class Unusual(BaseAPIException):
    """As applications write them."""

    def __init__(self, order: int, *, reason: str) -> None:
        super().__init__(f"order {order}: {reason}")
        self.order = order
        self.reason = reason


ERRORS: list[Exception] = [
    Unusual(7, reason="sold out"),
    HTTPError(409, {"name": "taken"}),
    InvalidArguments([{"loc": ["args", "n"], "msg": "no"}]),
    ValidationError({"name": ["required"]}),
    exceptions.ConnectionRefused(401, "no token", headers=[("WWW-Authenticate", "Bearer")]),
    exceptions.ImproperlyConfigured("port"),
    exceptions.RouterNotDefined(),
    exceptions.NoMatch("/x"),
    exceptions.NoReverseMatch("x"),
    HandshakeRefused(403, "Forbidden", {"server": "aiorest-ws"}),
    ConnectionClosed("a reply", 4401, "log in"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_can_be_copied_and_pickled_with_all_they_have(make: Any, error: Exception) -> None:
    error.add_note("of the test")
    twin = make(error)
    assert type(twin) is type(error)
    assert (twin.args, str(twin), vars(twin)) == (error.args, str(error), vars(error))


def test_every_class_of_ours_that_takes_what_it_likes_can_be_pickled() -> None:
    def below(cls: type) -> set[type]:
        return {cls}.union(*map(below, cls.__subclasses__()))

    for module in pkgutil.walk_packages(aiorest_ws.__path__, "aiorest_ws."):
        if not module.name.endswith("_c"):
            importlib.import_module(module.name)
    ours = {cls for cls in below(Exception) if cls.__module__.startswith("aiorest_ws.")}
    own = {cls for cls in ours if inspect.isfunction(cls.__init__)}  # type: ignore[misc]
    assert own
    assert own == {cls for cls in own if issubclass(cls, Portable)}


def test_every_error_says_what_it_means() -> None:
    for name in exceptions.__all__:
        assert inspect.getdoc(getattr(exceptions, name))
