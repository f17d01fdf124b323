"""The import paths that users know, which stay; and what `import aiorest_ws` costs: nothing that it does not need."""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import aiorest_ws
from tests.kit.pages import ROOT
from tests.serving import asynchronous, printed, run_program

# Cython's runtime puts these into sys.modules for the types that compiled modules share: no file is read for them.
CYTHON = re.compile(r"cython_runtime|_cython_[0-9_]+")

# uvloop, which is not on Windows, is left out where it is not installed.
LATER = [
    *("websockets", "watchfiles", "uvicorn", "httptools"),
    *("aiorest_ws.asgi", "aiorest_ws.client", "aiorest_ws.console", "aiorest_ws.exchange", "aiorest_ws.schema"),
    *("difflib", "xml", "msgspec", "jwt", "prometheus_client", "pydantic", "sqlalchemy", "aiosqlite", "django"),
    *(["uvloop"] if find_spec("uvloop") else []),
]

# Every documented path, with what is imported from there.
PATHS = {
    "aiorest_ws": (
        "Application Arg COMPILED Depends HTTPError Live MethodBasedView Request RequestHandlerFactory "
        "RequestHandlerProtocol Response SimpleRouter __version__ endpoint"
    ),
    "aiorest_ws.abstract": "AbstractEndpoint AbstractMiddleware AbstractPermission AbstractRouter",
    "aiorest_ws.app": "Application deflate_offer_accept",
    "aiorest_ws.auth": "",
    "aiorest_ws.auth.exceptions": "BaseAuthException NotAuthenticated PermissionDeniedException",
    "aiorest_ws.auth.permissions": "HasScope IsAuthenticated",
    "aiorest_ws.auth.token": "",
    "aiorest_ws.auth.token.exceptions": (
        "BaseTokenException InvalidClaimException InvalidSignatureException ParsingTokenException "
        "TokenExpiredException TokenNotBeforeException TokenNotProvidedException TokenRevokedException"
    ),
    "aiorest_ws.auth.token.managers": "JSONWebTokenManager",
    "aiorest_ws.auth.token.middlewares": "BaseTokenMiddleware JSONWebTokenMiddleware",
    "aiorest_ws.auth.user": "",
    "aiorest_ws.auth.user.abstractions": "AbstractUser",
    "aiorest_ws.auth.user.models": "User",
    "aiorest_ws.client": (
        "AsyncClient AsyncEvents AsyncStatuses AsyncSubscription BadRequest CallOptions Change Client ClientClosed "
        "ClientError ClientOptions Conflict ConnectionLost "
        "Event Events Forbidden HandshakeRefused MethodNotAllowed NotFound Reply RequestFailed ServerFailed State "
        "Statuses SubscribeOptions Subscription TimedOut TooManyRequests Unauthorized UnexpectedReply Unprocessable"
    ),
    "aiorest_ws.command_line": "CommandLine",
    "aiorest_ws.conf": "Settings VARIABLE settings",
    "aiorest_ws.converters": "CONVERTERS Converter PATH",
    "aiorest_ws.decorators": "Endpoint EndpointOptions NamedOptions endpoint",
    "aiorest_ws.dependencies": "Depends",
    "aiorest_ws.exceptions": (
        "BaseAPIException BaseAuthException BrokerUnavailable ConnectionRefused EndpointValueError HTTPError "
        "HandlerFailed ImproperlyConfigured IncorrectArgument IncorrectMethodNameType IncorrectURL InvalidArguments "
        "InvalidHandler InvalidMessage InvalidPathArgument InvalidRenderer MethodNotAllowed NoMatch "
        "NoReverseMatch NotAuthenticated NotImplementedMethod NotSpecifiedError NotSpecifiedHandler "
        "NotSpecifiedMethodName NotSpecifiedURL NotSupportedArgumentType PermissionDeniedException RequestTimeout "
        "RouterNotDefined SerializerError ServerStopping TooManyRequests ValidationError"
    ),
    "aiorest_ws.idempotency": "Idempotency token_holder",
    "aiorest_ws.limits": "Limits check_limit",
    "aiorest_ws.metrics": "Exposition Metrics",
    "aiorest_ws.middlewares": "CallNext RequestId Timing middleware_of middlewares_of request_id",
    "aiorest_ws.permissions": "AbstractPermission Composable check_permission",
    "aiorest_ws.renderers": "BaseRenderer JSONRenderer XMLRenderer",
    "aiorest_ws.request": "RequestHandlerFactory RequestHandlerProtocol",
    "aiorest_ws.routers": "Route SimpleRouter warn_if_empty",
    "aiorest_ws.status": (
        "WS_CLOSED_ABNORMALLY WS_DATA_CANNOT_ACCEPT WS_FAILURE_TLS WS_GOING_AWAY WS_MESSAGE_NOT_CONSISTENT "
        "WS_MESSAGE_TOO_BIG WS_MESSAGE_VIOLATE_POLICY WS_NORMAL WS_NO_STATUS_CODE WS_PROTOCOL_ERROR WS_RESERVED "
        "WS_SERVER_DIDNT_RETURN_EXTENSIONS WS_UNEXPECTED_CONDITION is_library is_not_used is_private is_reserved"
    ),
    "aiorest_ws.testing": (
        "AsyncSubscription AsyncTestClient ConnectionClosed End Event HandshakeRefused Reply Subscription "
        "SubscriptionEnded SubscriptionRefused TestClient"
    ),
    "aiorest_ws.urls": "NoMatch NoReverseMatch RouteMatch get_urlconf resolve reverse set_urlconf",
    "aiorest_ws.urls.base": "get_urlconf set_urlconf",
    "aiorest_ws.urls.exceptions": "NoMatch NoReverseMatch",
    "aiorest_ws.urls.utils": "RouteMatch resolve reverse",
    "aiorest_ws.views": "ATTRIBUTES MethodBasedView View http_methods",
    "aiorest_ws.wrappers": "BINARY_BASE64 BINARY_JSON BINARY_MSGPACK Request Response TEXT_BASE64 TEXT_JSON",
    "aiorest_ws.utils.websocket": "deflate_offer_accept",
    "pytest_aiorest_ws": "aiorest_ws_client",
}
IMPORTS = re.compile(r"^\s*from ((?:pytest_)?aiorest_ws[\w.]*) import (\([^)]*\)|[^\n]*)", re.MULTILINE)

SOURCE = """
import json, sys
import autobahn.asyncio.websocket, orjson, pybase64
before = set(sys.modules)
from aiorest_ws import *
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.mark.parametrize("path", PATHS)
def test_a_documented_path_has_what_it_always_had(path: str) -> None:
    module = import_module(path)
    assert [name for name in PATHS[path].split() if not hasattr(module, name)] == []


def test_what_documentation_and_examples_import_is_a_documented_path() -> None:
    texts = [*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.py")]
    found = {
        (path, name)
        for text in texts
        for path, names in IMPORTS.findall(text.read_text("utf-8"))
        for name in re.findall(r"\w+", re.sub(r"#.*| as \w+", "", names))
    }
    assert ("aiorest_ws", "Application") in found
    assert sorted((path, name) for path, name in found if name not in PATHS.get(path, "").split()) == []


def test_a_module_that_was_never_documented_is_missing_as_any() -> None:
    for name in ("seams", "opening", "admissions", "scopes", "sources", "binders"):
        with pytest.raises(ModuleNotFoundError, match=rf"^No module named 'aiorest_ws\.{name}'$"):
            import_module(f"aiorest_ws.{name}")


def test_a_type_checker_knows_the_names_of_every_module() -> None:
    """Where it sees a `__getattr__`, any other name is right, too: a slip of the pen, and what is gone."""
    texts = {path: path.read_text("utf-8") for path in Path(aiorest_ws.__file__).parent.rglob("*.py")}
    trees = {path: ast.parse(text) for path, text in texts.items() if "__getattr__" in text}
    assert trees  # classes may have one
    names = {path: [getattr(node, "name", "") for node in tree.body] for path, tree in trees.items()}
    assert [path for path in names if "__getattr__" in names[path]] == []


@asynchronous
async def test_importing_the_package_imports_nothing_that_the_first_request_does_not_need() -> None:
    outcome = await run_program(SOURCE)
    assert (outcome.code, outcome.err) == (0, "")
    imported = json.loads(outcome.out)
    assert "aiorest_ws.app" in imported
    foreign = [name for name in imported if name.partition(".")[0] != "aiorest_ws" and not CYTHON.fullmatch(name)]
    assert foreign == []


@asynchronous
async def test_importing_the_package_sets_up_no_logging_and_no_loop() -> None:
    """O5: 1.1.1 configured logging at import."""
    told = await printed(
        "import logging\n"
        "before = dict(logging.Logger.manager.loggerDict)\n"
        "from aiorest_ws import *\n"
        "print(logging.getLogger().handlers, logging.getLogger('aiorest_ws').handlers, logging.getLogger().level)\n"
    )
    assert told == "[] [] 30\n"


@asynchronous
async def test_importing_the_package_imports_neither_tools_nor_extras_before_they_are_needed() -> None:
    """Nor what only programs of others, as in examples/, bring along."""
    untraced = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}  # the tracer has imports of its own
    program = f"import sys; from aiorest_ws import *; print([m for m in {LATER} if m in sys.modules])"
    told = await printed(program, **untraced)
    assert told == "[]\n"


@asynchronous
async def test_what_the_package_does_not_import_at_once_is_there_when_it_is_asked_for() -> None:
    told = await printed(
        "import sys, aiorest_ws\n"
        "print([name for name in ('autobahn', 'aiorest_ws.app') if name in sys.modules])\n"
        "print(set(aiorest_ws.__all__) <= set(dir(aiorest_ws)))\n"
        "print(aiorest_ws.status.WS_NORMAL, aiorest_ws.Application is aiorest_ws.app.Application)\n"
        "print([name for name in ('nothing', '__wrapped__', '__main__') if hasattr(aiorest_ws, name)])\n"
    )
    assert told == "[]\nTrue\n1000 True\n[]\n"


@asynchronous
async def test_what_is_put_into_the_place_of_a_class_does_not_stay() -> None:
    told = await printed(
        "from unittest.mock import patch\n"
        "import aiorest_ws\n"
        "with patch('aiorest_ws.app.Application', 1), patch('aiorest_ws.routers.SimpleRouter'):\n"
        "    print(aiorest_ws.Application, type(aiorest_ws.SimpleRouter).__name__)\n"
        "print(aiorest_ws.Application.__name__, aiorest_ws.SimpleRouter.__name__)\n"
        "print({'Application', 'SimpleRouter'} <= set(vars(aiorest_ws)))\n"
    )
    assert told == "1 MagicMock\nApplication SimpleRouter\nTrue\n"


@asynchronous
async def test_what_a_module_of_the_package_lacks_is_named() -> None:
    """It is not taken for that module."""
    told = await printed(
        "import sys, aiorest_ws\n"
        "sys.modules['autobahn'] = None\n"
        "try:\n"
        "    aiorest_ws.Application\n"
        "except ModuleNotFoundError as exc:\n"
        "    print(exc.name.partition('.')[0])\n"
        "try:\n"
        "    aiorest_ws.app\n"
        "except ModuleNotFoundError as exc:\n"
        "    print(exc.name.partition('.')[0])\n"
    )
    assert told == "autobahn\nautobahn\n"


def test_what_is_not_imported_is_there() -> None:
    """Else it would prove nothing that it is not."""
    assert [name for name in LATER if find_spec(name) is None] == []
