"""What is between frames and requests, where the frames are somebody else's."""

from __future__ import annotations

import pytest

from tests.kit.frames import CLOSED, CLOSING, CONNECTING, OPEN
from tests.swapping import Impl


@pytest.mark.parametrize("state", [CONNECTING, OPEN, CLOSING, CLOSED])
def test_messages_that_come_and_go_without_frames(impl: Impl, state: int) -> None:
    came: list[tuple[bytes, bool]] = []

    class Taker(impl.flow.Flow):  # type: ignore[name-defined,misc]
        def _on_message(self, payload: bytes, is_binary: bool) -> None:
            came.append((payload, bool(is_binary)))

    flow = Taker()
    flow.state = state
    flow._reads_requests = False
    flow._take_message(b"text", False)
    flow._take_message(b"\xff", True)
    assert came == ([(b"text", False), (b"\xff", True)] if state == OPEN else [])
    assert (flow._octets_on_wire, flow._messages) == ((5, 2) if state == OPEN else (0, 0))
    flow._note_sent(3)
    assert (flow._octets_on_wire_out, flow._octets_out, flow._frames_out) == (3, 3, 1)
