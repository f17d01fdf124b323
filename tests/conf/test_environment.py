"""Options from the environment and from the settings module, as an application takes them when it starts."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from aiorest_ws import Application, RequestHandlerFactory, SimpleRouter
from aiorest_ws.conf.environment import configured, strangers
from aiorest_ws.conf.options import OPTIONS
from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.testing import TestClient
from tests.serving import asynchronous, run_program


def prepared(app: Application, **options: Any) -> RequestHandlerFactory:
    async def prepare() -> RequestHandlerFactory:
        return app.prepare(**options)

    return asyncio.run(prepare())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "9000", 9000),
        ("TRUSTED_PROXIES", " 1 ", 1),
        ("THREADS", "8", 8),
        ("THREADS", "none", None),
        ("HOST", "::1", "::1"),
        ("HOST", "none", None),
        ("PATH", "/none", "/none"),
        ("PATH", "none", "none"),
        ("UNIX_PATH", "/run/x", "/run/x"),
        ("DEBUG", "yes", True),
        ("COMPRESS", "0", False),
        ("ACCESS_LOG", "TRUE", True),
        ("LOG_LEVEL", "warn", "warn"),
        ("LOOP", "asyncio", "asyncio"),
        ("LOG_LEVEL", "INFO", "info"),
        ("LOG_LEVEL", "Warning", "warning"),
        ("LOOP", "UVLoop", "uvloop"),
        ("ACCESS_LOG", "JSON", "json"),
        ("DEBUG", "On", True),
        ("ALLOWED_ORIGINS", "https://a.example, null", ["https://a.example", "null"]),
        ("SUBPROTOCOLS", "v2,v1", ["v2", "v1"]),
        ("PING_INTERVAL", "0.5", 0.5),
        ("PING_INTERVAL", "None", None),
        ("MAX_HEADERS", "50", 50),
        ("WORKERS", "4", 4),
        ("WORKERS", "Auto", "auto"),
        ("WORKER_TIMEOUT", "30", 30),
    ],
)
def test_environment_variables_are_options(name: str, text: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIOREST_WS_{name}", text)
    assert configured() == {name.lower(): value}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_only_options_that_are_objects_cannot_come_from_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = {
        "accept_function",
        "dependencies",
        "factory",
        "factory_options",
        "idempotency",
        "lifespan",
        "metrics",
        "middlewares",
        "protocol",
        "router",
    }
    objects |= {"on_connect", "on_disconnect", "on_listening", "on_shutdown", "on_startup", "sock", "ssl_context"}
    monkeypatch.setenv(f"AIOREST_WS_{name.upper()}", "?")
    try:
        configured()
        is_object = False
    except ImproperlyConfigured as exc:
        is_object = "is an object" in str(exc)
    assert is_object == (name in objects)


def test_what_is_empty_is_not_set_and_the_switches_of_the_package_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIOREST_WS_PORT", "")
    monkeypatch.setenv("AIOREST_WS_NO_EXTENSIONS", "0")
    monkeypatch.setenv("AIOREST_WS_REQUIRE_EXTENSIONS", "0")
    assert configured() == {}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "http", "expected a number, got 'http'"),
        ("PORT", "80.5", "port must be an integer, got 80.5"),
        ("PORT", "65536", "port must be from 0 to 65535, got 65536"),
        ("DEBUG", "maybe", "expected one of 1, true, yes, on, 0, false, no, off, got 'maybe'"),
        ("LOG_LEVEL", "loud", "log_level must be one of 'critical'"),
        ("MAX_CONCURRENCY", "none", "max_concurrency must be an integer, got None"),
        ("PING_INTERVAL", "nan", "ping_interval must be greater than 0, got nan"),
        ("PATH", "/a b", "path must be as clients send it"),
        ("ALLOWED_ORIGINS", "example.com", "allowed_origins "),
        ("ROUTER", "shop.router", "router is an object, give it in a settings module or in the program"),
        ("WORKERS", "many", "workers must be a number of processes or 'auto', got 'many'"),
        ("WORKERS", "0", "workers must be from 1 to 1000, or 'auto', got 0"),
        ("WORKER_TIMEOUT", "0", "worker_timeout must be greater than 0, got 0"),
        ("PROT", "80", "unknown setting, did you mean AIOREST_WS_PORT?"),
        ("SETTINGS_MODULE", "shop", "unknown setting, did you mean AIORESTWS_SETTINGS_MODULE?"),
    ],
)
def test_variable_that_cannot_be_is_one_line(
    name: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"AIOREST_WS_{name}", text)
    with pytest.raises(ImproperlyConfigured) as failed:
        configured()
    assert str(failed.value).startswith(f"environment variable AIOREST_WS_{name}: {expected}")
    assert "\n" not in str(failed.value)


KUBERNETES = {  # of the services `aiorest-ws` and `aiorest-ws-metrics`
    "AIOREST_WS_SERVICE_HOST": "10.0.0.11",
    "AIOREST_WS_SERVICE_PORT": "8080",
    "AIOREST_WS_SERVICE_PORT_HTTP": "8080",
    "AIOREST_WS_PORT": "tcp://10.0.0.11:8080",
    "AIOREST_WS_PORT_8080_TCP": "tcp://10.0.0.11:8080",
    "AIOREST_WS_PORT_8080_TCP_PROTO": "tcp",
    "AIOREST_WS_PORT_8080_TCP_PORT": "8080",
    "AIOREST_WS_PORT_8080_TCP_ADDR": "10.0.0.11",
    "AIOREST_WS_PORT_53_UDP": "udp://10.0.0.11:53",
    "AIOREST_WS_PORT_53_UDP_ADDR": "10.0.0.11",
    "AIOREST_WS_METRICS_SERVICE_HOST": "10.0.0.12",
    "AIOREST_WS_METRICS_PORT": "tcp://10.0.0.12:9100",
    "AIOREST_WS_METRICS_PORT_9100_TCP_PORT": "9100",
    "AIORESTWS_PORT": "tcp://10.0.0.11:8080",
    "AIORESTWS_SERVICE_PORT": "8080",
}


@pytest.mark.parametrize("name", KUBERNETES)
def test_what_kubernetes_makes_of_a_service_is_ignored(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KUBERNETES[name])
    assert configured() == {}
    assert (logging.DEBUG, f"environment variable {name} is ignored: Kubernetes makes it for a service") in strangers()


def test_option_beside_what_kubernetes_makes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in KUBERNETES.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("AIOREST_WS_PORT", "9000")
    assert configured() == {"port": 9000}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("AIOREST_WS_IMAGE_TAG", "is ignored: there is no such option"),
        ("AIOREST_WS_VERSION", "is ignored: there is no such option"),
        ("AIORESTWS_PORT", "is not read, did you mean AIOREST_WS_PORT?"),
        ("AIOREST_PORT", "is not read, did you mean AIOREST_WS_PORT?"),
        ("AIO_REST_WS_LOG_LEVEL", "is not read, did you mean AIOREST_WS_LOG_LEVEL?"),
        ("aiorest_ws_port", "is not read, did you mean AIOREST_WS_PORT?"),
        ("AIORESTWS_SETTING_MODULE", "is not read, did you mean AIORESTWS_SETTINGS_MODULE?"),
        ("AIORESTWS_NO_EXTENSIONS", "is not read, did you mean AIOREST_WS_NO_EXTENSIONS?"),
    ],
)
def test_other_names_are_warned_of_and_their_values_are_not_shown(
    name: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(name, "secret")
    prepared(Application(router=SimpleRouter()))
    assert f"environment variable {name} {says}" in [record.getMessage() for record in caplog.records]
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "name", ["AIORESTAURANT_MENU", "AIORESTWS_SETTINGS_MODULE", "AIOREST_WS_NO_EXTENSIONS", "PORT"]
)
def test_names_of_others_and_our_own_are_not_spoken_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert strangers() == []


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("PROT", "AIOREST_WS_PORT"),
        ("PORTS", "AIOREST_WS_PORT"),
        ("_PORT", "AIOREST_WS_PORT"),
        ("ACCESSLOG", "AIOREST_WS_ACCESS_LOG"),
        ("MIDDLEWARE", "AIOREST_WS_MIDDLEWARES"),
        ("ALLOWED_ORIGIN", "AIOREST_WS_ALLOWED_ORIGINS"),
        ("NO_EXTENSION", "AIOREST_WS_NO_EXTENSIONS"),
        ("SETTINGS_MODULE", "AIORESTWS_SETTINGS_MODULE"),
    ],
)
def test_what_is_almost_an_option_is_an_error(name: str, near: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"AIOREST_WS_{name}", "1")
    with pytest.raises(ImproperlyConfigured, match=rf"AIOREST_WS_{name}: unknown setting, did you mean {near}\?"):
        configured()


def test_setting_of_the_module_that_is_like_none_is_an_error(settings_module: Any) -> None:
    settings_module("AIOREST_WS_VERSION = 1")
    with pytest.raises(ImproperlyConfigured, match=r"AIOREST_WS_VERSION in settings module .*: unknown setting"):
        configured()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("AIOREST_WS_PORT = '80'", "AIOREST_WS_PORT in settings module {!r}: port must be an integer, got '80'"),
        (
            "AIOREST_WS_PROT = 80",
            "AIOREST_WS_PROT in settings module {!r}: unknown setting, did you mean AIOREST_WS_PORT?",
        ),
        ("AIOREST_WS_DEBUG = 'no'", "AIOREST_WS_DEBUG in settings module {!r}: debug must be True or False, got 'no'"),
        ("AIOREST_WS_KEY = 1", "AIOREST_WS_KEY in settings module {!r}: key must be a path or None, got 1"),
        ("AIOREST_WS_MIDDLEWARES = 1", "AIOREST_WS_MIDDLEWARES in settings module {!r}: 'int' object is not iterable"),
        (
            "AIOREST_WS_FACTORY_OPTIONS = 1",
            "AIOREST_WS_FACTORY_OPTIONS in settings module {!r}: factory_options must be a dict, got 1",
        ),
    ],
)
def test_setting_of_the_module_that_cannot_be_is_one_line(source: str, expected: str, settings_module: Any) -> None:
    name = settings_module(source)
    with pytest.raises(ImproperlyConfigured) as failed:
        configured()
    assert str(failed.value) == expected.format(name)


def test_other_names_of_the_module_are_the_programs_own(settings_module: Any) -> None:
    settings_module("PORT = 1\nDEBUG = 'no'\nINSTALLED_APPS = ()\nAIOREST_WS_PORT = 81\n")
    assert configured() == {"port": 81}


def test_every_option_is_known(settings_module: Any) -> None:
    settings_module(
        "from aiorest_ws.conf.options import OPTIONS\n"
        "globals().update({f'AIOREST_WS_{k.upper()}': v for k, v in OPTIONS.items()})\n"
    )
    assert configured() == OPTIONS | {"middlewares": []}


def test_program_wins_over_environment_and_environment_over_module(
    settings_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_module("AIOREST_WS_MAX_HEADERS = 51\nAIOREST_WS_MAX_EVENT_NAME = 61\nAIOREST_WS_MAX_FRAGMENTS = 71\n")
    monkeypatch.setenv("AIOREST_WS_MAX_EVENT_NAME", "62")
    monkeypatch.setenv("AIOREST_WS_MAX_FRAGMENTS", "72")
    app = Application(router=SimpleRouter(), max_fragments=73)
    limits = prepared(app).limits
    assert (limits.max_headers, limits.max_event_name, limits.max_fragments) == (51, 62, 73)
    assert prepared(app, max_headers=54).limits.max_headers == 54
    assert prepared(app).limits.max_headers == 54


def test_an_application_may_be_all_settings(settings_module: Any) -> None:
    settings_module(
        "from aiorest_ws import MethodBasedView, SimpleRouter\n"
        "from aiorest_ws.abstract import AbstractMiddleware\n"
        "class Name(AbstractMiddleware):\n"
        "    def process_request(self, request, handler):\n"
        "        request.user = 'ada'\n"
        "class Hello(MethodBasedView):\n"
        "    def get(self, request):\n"
        "        return request.user\n"
        "AIOREST_WS_ROUTER = SimpleRouter()\n"
        "AIOREST_WS_ROUTER.register('/hello', Hello, 'GET')\n"
        "AIOREST_WS_MIDDLEWARES = [Name]\n"
        "AIOREST_WS_PATH = '/api'\n"
    )
    app = Application()
    with TestClient(app) as client:
        assert client.connection.path == "/api"
        assert client.get("/hello").data == "ada"
    (middleware,) = app.middlewares
    prepared(app)
    assert app.middlewares == [middleware]


def test_middlewares_of_the_program_win(settings_module: Any) -> None:
    settings_module("AIOREST_WS_MIDDLEWARES = [object()]\n")
    with pytest.raises(ImproperlyConfigured, match=r"has no method 'process_request', and is not called with"):
        prepared(Application(router=SimpleRouter()))
    settings_module("class M:\n    def process_request(self, r, h): ...\nAIOREST_WS_MIDDLEWARES = [M]\n")
    app = Application(router=SimpleRouter(), middlewares=[])
    prepared(app)
    assert app.middlewares == []


def test_setting_that_was_wrong_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Application(router=SimpleRouter())
    monkeypatch.setenv("AIOREST_WS_MAX_HEADERS", "many")
    with pytest.raises(ImproperlyConfigured):
        prepared(app)
    monkeypatch.setenv("AIOREST_WS_MAX_HEADERS", "55")
    assert prepared(app).limits.max_headers == 55


@asynchronous
async def test_run_says_in_one_line_what_is_wrong_with_a_setting() -> None:
    outcome = await run_program(
        "from aiorest_ws import *\nApplication(router=SimpleRouter()).run()\n", AIOREST_WS_PORT="http"
    )
    line = "aiorest-ws: environment variable AIOREST_WS_PORT: expected a number, got 'http'\n"
    assert (outcome.code, outcome.out, outcome.err) == (1, "", line)
