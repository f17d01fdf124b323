"""None in place of an argument: an exception, whatever the implementation, and not the end of the process.

C sees no difference between None and an object of ours, or bytes, unless it looks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import pytest

from tests.swapping import Impl

CALLS: dict[str, Callable[[Impl], Any]] = {
    "recognise": lambda impl: impl.codec.recognise(None, False),
    "decode": lambda impl: [impl.codec.decode(None, form) for form in (0, 2)],
    "decode base64": lambda impl: impl.codec.decode_base64(None),
    "encode": lambda impl: [impl.codec.encode(None, form) for form in (0, 1)],
    "read text": lambda impl: impl.envelope.read(None, False, None),
    "read binary": lambda impl: impl.envelope.read(None, True, None),
    "render": lambda impl: impl.envelope.render(None, "data"),
    "wrap": lambda impl: impl.wrappers.wrap(None, 0, None),
    "failed": lambda impl: impl.wrappers.failed(None, 0, None),
    "check id": lambda impl: impl.wrappers.check_id(None),
    "append request": lambda impl: impl.wrappers.Response().append_request(None),
    "insert": lambda impl: impl.trie.Trie().insert(None, None, None),
    "find": lambda impl: impl.trie.Trie().find(None, None),
    "match": lambda impl: impl.trie.Trie().match(None, None),
    "handle": lambda impl: impl.pipeline.Pipeline().handle(None, False),
    "adopt": lambda impl: impl.pipeline.Pipeline().adopt(None, 0, None),
    "respond": lambda impl: impl.pipeline.Pipeline().respond(None),
    "route": lambda impl: impl.pipeline.Pipeline().route(None, None),
    "route without a trie": lambda impl: impl.pipeline.Pipeline().route(impl.wrappers.Request(url="/"), None),
    "refuse": lambda impl: impl.pipeline.Pipeline().refuse(None, None),
    "guard": lambda impl: impl.guards.Guard(None, None).process_request(None, None),
    "is authenticated": lambda impl: impl.guards.is_authenticated(None),
    "feed": lambda impl: opened(impl)._feed(None),
    "write": lambda impl: opened(impl)._write(None, 1),
    "write base64": lambda impl: opened(impl)._write_base64(None, 1),
    "receive": lambda impl: opened(impl)._receive(None),
    "receive without a pipeline": lambda impl: opened(impl)._receive(impl.wrappers.Request()),
    "finish": lambda impl: opened(impl)._finish(None, None),
    "spare_tasks": lambda impl: impl.tasks.SpareTasks(None).put_back(None),
    "parked": lambda impl: impl.tasks.SpareTasks(None).parked(None),
}


def opened(impl: Impl) -> Any:
    connection = impl.connection.Connection()
    connection.state = impl.frames.OPEN
    return connection


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_none_is_no_worse_than_any_other_wrong_argument(impl: Impl, call: Callable[[Impl], Any]) -> None:
    with suppress(Exception):  # which one is no promise
        call(impl)


def test_pipeline_without_a_trie_answers(impl: Impl) -> None:
    pipeline = impl.pipeline.Pipeline()
    assert b"server error" in pipeline.handle(b'{"method":"GET","url":"/"}', False)
    assert b'"status":500' in pipeline.handle(b'{"id":1,"method":"GET","url":"/"}', False)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_first_step_of_what_is_no_coroutine_is_an_error(impl: Impl, loop: asyncio.AbstractEventLoop) -> None:
    async def nothing() -> None:
        pass

    task = loop.create_task(nothing())
    with pytest.raises(AttributeError):
        impl.eager.first_step(None, copy_context(), impl.eager.Lookout(loop, task))
    loop.run_until_complete(task)
