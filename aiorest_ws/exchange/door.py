"""`Exchange`: the routes of an application as an ASGI app for the scope `http`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from time import perf_counter
from typing import Any

from aiorest_ws._speedups import came_as, over, wrap
from aiorest_ws.callables.failures import PASSED_ON
from aiorest_ws.connection.protocol import RequestHandlerProtocol
from aiorest_ws.exceptions import (
    BaseAPIException,
    ConnectionRefused,
    HandlerFailed,
    ImproperlyConfigured,
    RequestTimeout,
    ServerStopping,
    TooManyRequests,
)
from aiorest_ws.exchange.accepting import form_of, wants_events
from aiorest_ws.exchange.asking import ask
from aiorest_ws.exchange.bodies import JSON, Gone, data_of, kind_of, read_body, waits_to_send
from aiorest_ws.exchange.caching import conditional
from aiorest_ws.exchange.connection import HttpConnection, peer_of, received
from aiorest_ws.exchange.methods import answers_itself, is_routed, method_for, with_allowed
from aiorest_ws.exchange.observing import observe, observe_unasked
from aiorest_ws.exchange.origins import admit, with_cors
from aiorest_ws.exchange.pages import check_pages, pages_of
from aiorest_ws.exchange.replies import Reply, error, made, refused, rendered_reply, unmarked
from aiorest_ws.exchange.targets import args_of, is_marked, url_of, written
from aiorest_ws.http.head import bearer

__all__ = ("Exchange",)

_LEFT = 499  # nobody reads it, but hosts count on an answer: so nginx says that the client left

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Exchange:
    """Answers HTTP requests with the routes of a factory, as any of its connections would.

    factory    a `RequestHandlerFactory`, whose application has started
    context    gives that of a request that comes here; None for a copy of the application's
    pages      what is served beside the routes, by path; they name `served_path`, or the factory's, for WebSockets
    """

    def __init__(
        self, factory: Any, context: Callable[[], Context] | None = None, served_path: str | None = None
    ) -> None:
        _check_protocol(factory.protocol)
        self.factory = factory
        self._context = context
        self.pages = {} if factory.app is None else pages_of(factory, served_path)
        self._gatekeepers = bool(factory.gatekeepers)
        if factory.pipeline.trie is not None:
            check_pages(self.pages, factory.pipeline.trie)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, in the context of the application."""
        if scope["type"] != "http":
            raise RuntimeError(f"scope must be http, got {scope['type']!r:.50}")
        own = self.factory.context
        if own is None:
            await self.serve(scope, receive, send)
            return
        context = own.copy() if self._context is None else self._context()
        await asyncio.get_running_loop().create_task(self.serve(scope, receive, send), context=context)

    async def serve(self, scope: Scope, receive: Receive, send: Send, line: Any = None) -> None:
        """Answer one request.

        line    the connection that carries it, if it is one of ours
        """
        reply = await self._reply_to(scope, receive, line)
        if reply is not None:
            await self.say(reply, scope, receive, send, line)

    async def say(self, reply: Reply, scope: Scope, receive: Receive, send: Send, line: Any) -> None:
        """Send a response, the last of its connection where nobody could tell what follows the request."""
        status, headers, body, closes, stream = reply
        if status == 401 and all(name != b"www-authenticate" for name, _ in headers):
            headers.append((b"www-authenticate", b"Bearer"))  # RFC 9110 §11.6.1: how to prove who one is
        if closes or (line is not None and line.has_unread_body):
            headers.append((b"connection", b"close"))
        if stream is not None:
            await stream.run(receive, send, headers)
            return
        if line is not None:
            await line.respond(status, headers, body)
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _reply_to(self, scope: Scope, receive: Receive, line: Any) -> Reply | None:
        """Give the response, None if there is nobody any more who waits for it."""
        form, connection, started = 0, None, perf_counter()
        try:
            handshake = received(scope) if line is None else line.handshake
            form = form_of(handshake.headers.get("accept", ""))
            peer = peer_of(scope, handshake, self.factory.trustXForwardedFor, line)
            connection = HttpConnection(self.factory, handshake, peer, form, scope if line is None else None)
            admit(connection, scope["method"])
            reply = await self._answer(connection, scope, receive, line)
        except Gone:
            return None if line is not None else Reply(_LEFT, [], b"")
        except ConnectionRefused as exc:
            reply = refused(exc, form)
        except PASSED_ON:
            raise
        except BaseAPIException as exc:
            reply = error(_status_of(exc), exc.detail, form)
        except Exception as exc:  # no fault of the client: whatever it is, it is told that there is one
            self.factory.failures.write(logging.ERROR, "cannot answer a request over HTTP", exc)
            reply = error(500, HandlerFailed.default_detail, form)
        finally:
            if connection is not None:
                connection.ended()
        if connection is not None and not connection.is_observed:
            observe_unasked(connection, scope["method"], reply, perf_counter() - started)
        return with_cors(reply, connection)

    async def _answer(self, connection: HttpConnection, scope: Scope, receive: Receive, line: Any) -> Reply:
        path, query = connection.path, connection._handshake.query
        url = url_of(path)
        factory = self.factory
        if factory.stopping:
            if path == factory.health_path:
                return made(503, b"stopping\n", b"text/plain; charset=utf-8")._replace(closes=True)
            raise ConnectionRefused(503, ServerStopping.default_detail, headers=(("Connection", "close"),))
        if line is not None and line.rate is not None and not line.rate.allow():
            raise TooManyRequests
        if path == factory.health_path and scope["method"] in ("GET", "HEAD"):
            connection.is_observed = True  # somebody asks every second
            return made(200, b"ok\n", b"text/plain; charset=utf-8")
        own = answers_itself(self, connection, scope["method"], url)
        if own is not None:
            return own
        page = self.pages.get(url)
        if page is not None and page.is_public:
            return conditional(page.reply, connection)
        if scope["method"] == "GET" and wants_events(connection.headers.get("accept", "")) and self._is_live(url):
            from aiorest_ws.exchange.stream import Stream  # which most applications do without

            return await Stream(self, connection, scope, line).open(url, args_of(query) if query else None)
        if self._gatekeepers or factory.on_connect is not None:
            await ask(connection)
        try:
            body = await self._body(connection, scope, url, receive)
            return await self._exchange(connection, scope, url, body, receive, line)
        finally:
            if factory.on_disconnect is not None:
                factory.hooks.tell("on_disconnect", factory.on_disconnect, connection, 1000, "")

    async def _body(self, connection: HttpConnection, scope: Scope, url: str, receive: Receive) -> bytes:
        """Give the body of a request; nobody is told to send one that is refused for what is known of it by now."""
        headers = connection.headers
        if "expect" in headers and waits_to_send(scope, headers):
            kind_of(headers.get("content-type", ""), headers.get("content-encoding", ""))
            if not is_routed(self, scope["method"], url):
                return b""
        return await read_body(scope, headers, receive, self.factory.limits.max_message_size)

    async def _exchange(
        self, connection: HttpConnection, scope: Scope, url: str, body: bytes, receive: Receive, line: Any
    ) -> Reply:
        """Have one request answered on the way of all."""
        page = self.pages.get(url)
        if page is not None and scope["method"] in ("GET", "HEAD"):
            return conditional(page.reply_below(scope.get("root_path") or ""), connection)
        request = self._request(connection, method_for(self, scope["method"], url), url, body)
        started = perf_counter()
        pipeline = connection._pipeline
        if is_marked(url):
            connection.marked = url
        if connection.marked and pipeline.trie is not None and pipeline.process is None:
            answer = self._routed(connection, request, pipeline)
        else:
            answer = pipeline.respond(request)
        if type(answer) is not bytes:
            answer = await self._finished(connection, request, answer, receive, line)
        if request._live is not None:
            settled = request._live.settle(connection, request, answer)
            answer = await connection.put_off_to if settled is None else settled  # type: ignore[misc]
        observe(connection, request, len(answer), perf_counter() - started)
        over(request)
        is_replayed = request._live is not None and request._live.is_replayed
        if is_replayed and not connection.media_type:
            answer = unmarked(answer, connection.form)
        reply = rendered_reply(
            answer, request.status, connection.form, connection.media_type, is_ours=pipeline.process is None
        )
        if is_replayed:
            reply.headers.append((b"idempotent-replayed", b"true"))
        if connection.closes:
            reply = reply._replace(closes=True)
        if reply.status == 405:
            return with_allowed(reply, self, url)
        route = request.route
        if route is not None and reply.status == 200 and request.method == "GET" and _is_state(route):
            return conditional(reply, connection)
        return reply

    def _request(self, connection: HttpConnection, method: str, url: str, body: bytes) -> Any:
        """Give the request of ours that an HTTP request is."""
        headers, query = connection.headers, connection._handshake.query
        envelope: dict[str, Any] = {"id": 0, "method": method, "url": written(url)}
        envelope["args"] = args_of(query) if query else {}
        if "idempotency-key" in headers:
            envelope["idempotency_key"] = headers["idempotency-key"].strip('"')
        if connection._credentials is None and (token := bearer(headers.get("authorization", ""))):
            envelope["token"] = token  # nobody has looked at it yet
        kind = 0
        if body:
            kind = kind_of(headers.get("content-type", ""), headers.get("content-encoding", ""))
            envelope["data"] = data_of(body, kind)
        request = wrap(envelope, connection.form, connection)
        if kind == JSON:
            came_as(request, body)
        return request

    def _is_live(self, url: str) -> bool:
        """Tell whether a GET of `url` leads to a route that says how it changes."""
        pipeline = self.factory.pipeline
        if pipeline.trie is None or pipeline.process is not None:
            return False
        try:
            plan, _ = pipeline.find(pipeline.trie, "GET", url)
        except BaseAPIException:
            return False
        return plan.live is not None

    def _routed(self, connection: HttpConnection, request: Any, pipeline: Any) -> Any:
        """Have a request answered whose path is marked."""
        found = connection.found(pipeline, request, pipeline.trie)
        return pipeline.respond(request) if found is None else pipeline.run(request, *found)

    async def _finished(
        self, connection: HttpConnection, request: Any, pending: Any, receive: Receive, line: Any
    ) -> bytes:
        """Give what comes of a handler that takes its time: it may have so much of it, and is left with its client."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(pending)
        is_late = False
        waits: set[asyncio.Task[Any]] = {task} if line is not None else {task, loop.create_task(_left(receive))}
        try:
            patience = self.factory.limits.request_timeout
            done, _ = await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if task in done:
                return _outcome(connection, request, task)
            if done:
                raise Gone
            is_late = True
            return self._late(connection, request)
        finally:
            waits.discard(task)
            for each in waits:
                each.cancel()
            if not task.done():
                self._leave(request, task, is_late=is_late)

    def _leave(self, request: Any, task: asyncio.Task[bytes], *, is_late: bool) -> None:
        """Cancel a handler that nobody waits for, unless what it does is done once: then it goes on to its end."""
        role = request._live
        survives = role is not None and not is_late and bool(role.leave())
        if not survives:
            task.cancel()
        elif self.factory.limits.request_timeout is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self.factory.limits.request_timeout, task.cancel)
            task.add_done_callback(lambda _: timer.cancel())
        self.factory.outlives(task, survives=survives)
        task.add_done_callback(lambda _: _end(request))

    def _late(self, connection: HttpConnection, request: Any) -> bytes:
        if request._live is not None:
            request._live.late(request)
        return bytes(connection._pipeline.refuse(request, RequestTimeout()))


def _status_of(exc: BaseAPIException) -> int:
    """Give the status of an error: 500 for what no error has."""
    status = exc.status
    return int(status) if isinstance(status, int) and 400 <= status <= 599 else HandlerFailed.status


def _outcome(connection: HttpConnection, request: Any, task: asyncio.Task[bytes]) -> bytes:
    if task.cancelled():
        return bytes(connection._pipeline.refuse(request, HandlerFailed()))  # it cancelled itself
    return task.result()


async def _left(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _end(request: Any) -> None:
    over(request)
    if request._live is not None:
        request._live.end(request)


def _is_state(route: Any) -> bool:
    live = route.handler.live
    return bool(live) and (live is True or live.mode == "state")


def _check_protocol(protocol: Any) -> None:
    """Raise ImproperlyConfigured for a class of connections that has a say of its own, which nobody would ask here."""
    for name in ("onConnect", "onMessage"):
        if getattr(protocol, name) is not getattr(RequestHandlerProtocol, name):
            raise ImproperlyConfigured(
                f"{protocol.__qualname__} has an {name} of its own, which HTTP would not pass: "
                "expected on_connect, or a middleware, in its place"
            )
