"""The pytest plugin: an application in, a connected test client out.

It stands outside the package, so that a session which does not use it imports nothing of aiorest-ws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from aiorest_ws.testing import TestClient

__all__ = ("aiorest_ws_client",)


@pytest.fixture
def aiorest_ws_client() -> Iterator[Callable[..., TestClient]]:
    """Give a function that takes what `aiorest_ws.testing.TestClient` takes, and gives a connected one.

    All that it gave are closed at the end of the test.
    """
    from aiorest_ws.testing import TestClient

    with ExitStack() as clients:

        def connect(app: Any, *args: Any, **options: Any) -> TestClient:
            return clients.enter_context(TestClient(app, *args, **options))

        yield connect
