"""Bytes of a connection → parts of them that are of one request each, however they arrive; and its request line."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.exceptions import ConnectionRefused
from aiorest_ws.exchange.framing import Framing

HEAD = b"POST /a HTTP/1.1\r\nHost: t\r\n\r\n"


def chunked(chunks: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks if each) + b"0\r\n\r\n"


# What is in bodies looks like the end of a head as often as not.
text = st.lists(st.sampled_from([b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"x", HEAD]), max_size=6).map(b"".join)
counted = text.map(lambda body: (len(body), body))
messages = st.lists(
    counted | st.lists(text, max_size=3).map(lambda chunks: (0, chunked(chunks))), min_size=1, max_size=4
)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


@given(messages, st.lists(st.integers(min_value=0, max_value=2000), max_size=12))
def test_no_part_is_of_two_requests(messages: list[tuple[int, bytes]], cuts: list[int]) -> None:
    whole, heads, ends = b"", {}, set()
    for length, body in messages:
        whole += HEAD
        heads[len(whole)] = length
        whole += body
        ends.add(len(whole))
    framing, at = Framing(None), 0
    for packet in split(whole, cuts):
        for piece in framing.pieces(packet):
            assert whole[at : at + len(piece)] == piece
            assert not any(at < end < at + len(piece) for end in (*heads, *ends))
            if framing.is_head:
                framing.ready(piece)
            at += len(piece)
            if at in heads:
                framing.end_head(heads[at])
            if at in ends:
                framing.begin()
    assert at == len(whole)


@pytest.mark.parametrize("cut", range(25))
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /a HTTP/1.1", 0),
        (b"\r\n\r\nGET /a HTTP/1.0", 0),
        (b"GET  /a HTTP/1.1", 400),
        (b"GET /a  HTTP/1.1", 400),
        (b"GET /a HTTP/1.1 ", 400),
        (b"GET /a RTSP/1.0", 400),
        (b"\nGET /a HTTP/1.1", 400),
        (b"\r\n" * 5 + b"GET /a HTTP/1.1", 400),
        (b"GET /a HTTP/1.2", 505),
        (b"GET /" + b"a" * 100 + b" HTTP/1.1", 431),
    ],
)
def test_a_request_line_is_read_as_the_first_of_a_connection(line: bytes, status: int, cut: int) -> None:
    framing = Framing(60)

    def arrive() -> None:
        for packet in (line[:cut], line[cut:], b"\r\n"):
            for piece in framing.pieces(packet):
                framing.ready(piece)

    if not status:
        arrive()
        assert framing.has_line
        return
    with pytest.raises(ConnectionRefused) as refused:
        arrive()
    assert (refused.value.status, framing.has_line) == (status, False)
