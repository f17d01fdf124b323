"""FastAPI's markers, dependency-injector, anyio: what nobody here would read is refused, not the client's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import anyio.from_thread
import anyio.lowlevel
import fastapi
import pytest
from dependency_injector import containers, providers
from dependency_injector.wiring import Closing, Provide, Provider, inject

from aiorest_ws import Application, Depends, SimpleRouter
from aiorest_ws.exceptions import InvalidHandler
from aiorest_ws.testing import TestClient
from tests.serving import asynchronous


def get_user() -> str:
    return "ada"


class Service:
    def name(self) -> str:
        return "service"


class Container(containers.DeclarativeContainer):
    limit = providers.Object(20)
    service = providers.Factory(Service)


def get_service() -> Service:
    return Container.service()


@pytest.fixture
def container() -> Any:
    """Give a container that is wired to this module."""
    made = Container()
    made.wire(modules=[__name__])
    yield made
    made.unwire()


FASTAPI = [
    fastapi.Depends(get_user),
    fastapi.Security(get_user, scopes=["admin"]),
    fastapi.Header(),
    fastapi.Query(ge=5),
    fastapi.Cookie(),
    fastapi.Body(),
    fastapi.Form(),
    fastapi.File(),
    fastapi.Path(),
]
INJECTOR = [Provide[Container.limit], Provider[Container.service], Closing[Provide[Container.service]]]


def name_of(marker: Any) -> str:
    return f"{type(marker).__module__.partition('.')[0]}-{type(marker).__name__}"


def in_annotation(marker: Any) -> Callable[..., Any]:
    def handler(request: Any, user: Annotated[str, marker]) -> str:
        return user

    handler.__annotations__["user"] = Annotated[str, marker]
    return handler


def as_default(marker: Any) -> Callable[..., Any]:
    def handler(request: Any, user: str = marker) -> str:
        return user

    return handler


def refuse(handler: Callable[..., Any]) -> str:
    """Give what is said when `handler` is registered."""
    router = SimpleRouter()
    handler.__annotations__ = {key: value for key, value in handler.__annotations__.items() if key == "user"}
    with pytest.raises((InvalidHandler, TypeError)) as refused:
        router.get("/me")(handler)
    return str(refused.value)


@pytest.mark.parametrize("marker", [*FASTAPI, *INJECTOR], ids=name_of)
@pytest.mark.parametrize("place", [in_annotation, as_default])
def test_marker_of_another_framework_is_refused(marker: Any, place: Callable[[Any], Callable[..., Any]]) -> None:
    said = refuse(place(marker))
    assert "'user'" in said
    assert "Depends" in said


def test_depends_on_what_fastapi_calls_is_ours() -> None:
    router = SimpleRouter()

    @router.get("/me")
    def me(request: Any, user: Annotated[str, Depends(get_user)]) -> str:
        return user

    with TestClient(Application(router=router)) as client:
        assert client.get("/me").data == "ada"
        assert client.get("/me", args={"user": "EVIL"}).status == 422


@inject
def limited(request: Any, limit: int = Provide[Container.limit]) -> int:
    return limit


@inject
async def limited_later(request: Any, limit: int = Provide[Container.limit]) -> int:
    return limit


@pytest.mark.parametrize("handler", [limited, limited_later])
def test_what_inject_would_give_is_not_taken_from_the_client(container: Any, handler: Callable[..., Any]) -> None:
    with pytest.raises(InvalidHandler, match=r"'limit' of limited\w* has as its default Provide\[.*nobody reads here"):
        SimpleRouter().get("/limit")(handler)


def served_by(call: Any) -> SimpleRouter:
    def handler(request: Any, service: Any) -> str:
        return str(service.name())

    handler.__annotations__["service"] = Annotated[Any, Depends(call)]
    router = SimpleRouter()
    router.get("/service")(handler)
    return router


def test_depends_on_a_marker_of_the_injector_is_refused(container: Any) -> None:
    with pytest.raises(InvalidHandler, match="'service': Depends expects a callable that gives the value, got Provide"):
        served_by(Provide[Container.service])


def has_signature(call: Callable[..., Any]) -> bool:
    """Providers are compiled: CPython knows the parameters of such a callable from 3.13 on."""
    try:
        return bool(inspect.signature(call))
    except ValueError:
        return False


def test_depends_on_a_provider_works_where_its_parameters_can_be_known(container: Any) -> None:
    if not has_signature(Container.service):
        with pytest.raises(InvalidHandler, match=r"'service': .*cannot be known.*; a function that calls it will do"):
            served_by(Container.service)
        return
    with TestClient(Application(router=served_by(Container.service))) as client:
        assert client.get("/service").data == "service"
        assert client.get("/service", args={"service": "EVIL"}).status == 422


def test_depends_on_a_function_that_asks_the_container_works(container: Any) -> None:
    router = SimpleRouter()

    @router.get("/service")
    def handler(request: Any, service: Annotated[Service, Depends(get_service)]) -> str:
        return service.name()

    with TestClient(Application(router=router)) as client:
        assert client.get("/service").data == "service"
        assert client.get("/service", args={"service": "EVIL"}).status == 422


@asynchronous
async def test_anyio_reaches_the_loop_from_a_threaded_handler() -> None:
    from aiorest_ws.testing import AsyncTestClient

    router = SimpleRouter()

    async def fetch(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number + 1

    @router.get("/anyio/{number:int}", threaded=True)
    def by_anyio(request: Any, number: int) -> int:
        return anyio.from_thread.run(fetch, number)

    @router.get("/anyio/sync/{number:int}", threaded=True)
    def by_anyio_sync(request: Any, number: int) -> None:
        anyio.from_thread.run_sync(request.connection.send_event, "number", number)

    @router.get("/own/{number:int}", threaded=True)
    def by_us(request: Any, number: int) -> int:
        request.app.call_soon(request.connection.send_event, "number", number)
        return int(request.app.run_coroutine(fetch(number)).result())

    async with AsyncTestClient(Application(router=router)) as client:
        assert (await client.get("/anyio/1")).data == 2
        assert (await client.get("/own/2")).data == 3
        assert (await client.receive_event()).data == 2
        assert (await client.get("/anyio/sync/3")).ok
        assert (await client.receive_event()).data == 3
