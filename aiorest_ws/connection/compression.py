"""The extensions that a client offers in, the compression that is agreed on out (RFC 6455 §9.1, RFC 7692 §7.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.compress import (
    PERMESSAGE_COMPRESSION_EXTENSION,
    PerMessageDeflateOffer,
    PerMessageDeflateOfferAccept,
)

from aiorest_ws._speedups import Packer, Unpacker

__all__ = ("Deflate", "DeflateOffer", "Packers", "agree", "deflate_offer_accept", "extensions")

# More than these nobody offers, and they are read before the client is known.
_MOST_EXTENSIONS = 16
_MOST_PARAMETERS = 16

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_PARAMETER = re.compile(rf'[ \t]*+;[ \t]*+({_TOKEN})(?:[ \t]*+=[ \t]*+(?:({_TOKEN})|"((?:[^"\\]|\\.)*+)"))?+')
_EXTENSION = re.compile(rf"[ \t]*+({_TOKEN})((?:{_PARAMETER.pattern}){{0,{_MOST_PARAMETERS}}}+)[ \t]*+(?:,|$)")

_SMALLEST, _LARGEST = 9, 15  # windows that zlib can have, as a power of 2
_BITS = {str(bits): bits for bits in range(8, _LARGEST + 1)}  # without leading zeros (RFC 7692 §7.1.2)
_WINDOW_BITS, _LEVEL = 12, 5  # ours
_ZLIBS_LEVEL = 8


def extensions(header: str) -> list[tuple[str, dict[str, list[Any]]]]:
    """Give the first few extensions of a header, names in lower case, and the values of each parameter, True for none.

    What is malformed counts, and is left out.
    """
    found: list[tuple[str, dict[str, list[Any]]]] = []
    at = 0
    for _ in range(_MOST_EXTENSIONS):
        match = _EXTENSION.match(header, at)
        if match is not None:
            found.append((match[1].lower(), _parameters(match[2])))
            at = match.end()
        else:
            at = header.find(",", at) + 1
        if not 0 < at < len(header):
            break
    return found


def _parameters(text: str) -> dict[str, list[Any]]:
    parameters: dict[str, list[Any]] = {}
    for found in _PARAMETER.finditer(text):
        name, value, quoted = found.groups()
        if quoted is not None:
            value = re.sub(r"\\(.)", r"\1", quoted)
        parameters.setdefault(name.lower(), []).append(True if value is None else value)
    return parameters


class DeflateOffer(PerMessageDeflateOffer):
    """An offer of permessage-deflate, with what Autobahn's own does not keep.

    client_max_window_bits    how far back the client will refer at most, as a power of 2, 8 to 15; 0: it takes no limit
    """

    def __init__(self, client_bits: int, server_bits: int, *, server_no_context_takeover: bool) -> None:
        super().__init__(
            accept_max_window_bits=client_bits > 0,
            request_no_context_takeover=server_no_context_takeover,
            request_max_window_bits=server_bits,
        )
        self.client_max_window_bits = client_bits


def _deflate_offer(parameters: Mapping[str, list[Any]]) -> DeflateOffer | None:
    """Give what is offered, None for what has to be declined (RFC 7692 §7.1) or asks for a window that zlib has not."""
    client_bits = server_bits = 0
    for name, values in parameters.items():
        value = values[0]
        if len(values) > 1:
            return None
        if name == "client_max_window_bits":
            client_bits = _LARGEST if value is True else _BITS.get(value, 0)
            wrong = not client_bits
        elif name == "server_max_window_bits":
            server_bits = _BITS.get(value, 0)
            wrong = server_bits < _SMALLEST
        else:
            wrong = value is not True or name not in ("client_no_context_takeover", "server_no_context_takeover")
        if wrong:
            return None
    return DeflateOffer(client_bits, server_bits, server_no_context_takeover="server_no_context_takeover" in parameters)


def _offer(name: str, parameters: Mapping[str, list[Any]]) -> Any:
    """Give an offer of compression, None for whatever else it is."""
    if name == Deflate.EXTENSION_NAME:
        return _deflate_offer(parameters)
    known: Any = PERMESSAGE_COMPRESSION_EXTENSION.get(name)
    if known is None:
        return None
    try:
        return known["Offer"].parse(parameters)
    except Exception:  # Autobahn raises this very class
        return None


def deflate_offer_accept(offers: list[Any]) -> Any:
    """Accept the first permessage-deflate offer of a client (RFC 7692), if it made one.

    What the server sends stands for itself, so that all connections share one compressor. Of what the client sends the
    last 4 KiB are remembered, if it can be told so; that is 12 KiB of memory a connection, from its first compressed
    message on, and would be 40 as zlib has it. Other parameters: write a function like this one and give it as
    `accept_function`.
    """
    for offer in offers:
        if isinstance(offer, PerMessageDeflateOffer):
            return PerMessageDeflateOfferAccept(
                offer,
                request_max_window_bits=_WINDOW_BITS if offer.accept_max_window_bits else 0,
                no_context_takeover=True,
                window_bits=min(_WINDOW_BITS, offer.request_max_window_bits or _WINDOW_BITS),
                mem_level=_LEVEL,
            )
    return None


class Packers:
    """The compressors that the connections of a listener share."""

    def __init__(self) -> None:
        self._shared: dict[tuple[int, int], Packer] = {}

    def packer(self, window_bits: int, level: int, *, takes_over: bool) -> Packer:
        if takes_over:
            return Packer(window_bits, level, takes_over=True)
        key = window_bits, level
        packer = self._shared.get(key)
        if packer is None:
            packer = self._shared[key] = Packer(window_bits, level, takes_over=False)
        return packer


class Deflate:
    """permessage-deflate as it is agreed on with a client. Our frame layer takes its `packer` and `unpacker`.

    The rest is what Autobahn asks of a compression, for what goes its way: fragments that are sent, and all that
    subclasses with hooks of their own for frames send and receive.

    max_message_size    of a message from the client, decompressed, or None
    unsent              a message was compressed and has not been sent as a whole
    """

    EXTENSION_NAME = "permessage-deflate"
    __slots__ = ("_message", "max_message_size", "packer", "unpacker", "unsent")

    def __init__(self, packer: Packer, unpacker: Unpacker, max_message_size: int | None = None) -> None:
        self.packer = packer
        self.unpacker = unpacker
        self.max_message_size = max_message_size
        self.unsent = False
        self._message: list[bytes] = []

    @property
    def server_no_context_takeover(self) -> bool:
        return not self.packer.takes_over

    @property
    def client_no_context_takeover(self) -> bool:
        return not self.unpacker.takes_over

    @property
    def server_max_window_bits(self) -> int:
        return self.packer.window_bits

    @property
    def client_max_window_bits(self) -> int:
        return self.unpacker.window_bits

    def start_compress_message(self) -> None:
        self._message = []

    def compress_message_data(self, data: bytes) -> bytes:
        self._message.append(data)
        return b""

    def end_compress_message(self) -> bytes:
        message, self._message = b"".join(self._message), []
        packed = self.packer.pack(message)
        self.unsent = True
        return packed

    def start_decompress_message(self) -> None:
        """Do nothing: the end of the message before has left all ready."""

    def decompress_message_data(self, data: bytes, max_output_len: int | None = None) -> bytes:
        return self._unpack(data, False)

    def end_decompress_message(self) -> None:
        if self._unpack(b"", True):
            raise PayloadCorruptError("message ends inside of a block")

    def _unpack(self, data: bytes, is_last: bool) -> bytes:
        try:
            return self.unpacker.unpack(data, is_last)
        except ValueError as exc:
            raise PayloadCorruptError(str(exc)) from None
        except OverflowError as exc:
            raise PayloadExceededError(str(exc)) from None


def agree(header: str, decide: Callable[[list[Any]], Any], packers: Packers) -> tuple[Any, str] | None:
    """Give the compression of a connection and what to answer to its client, None for none.

    `decide` is an `accept_function`; what it accepts may be another compression that Autobahn has.
    """
    offers = [offer for offer in (_offer(*extension) for extension in extensions(header)) if offer is not None]
    accepted = decide(offers) if offers else None
    if accepted is None:
        return None
    if isinstance(accepted, PerMessageDeflateOfferAccept):
        return _deflate(accepted, packers)
    known: Any = PERMESSAGE_COMPRESSION_EXTENSION[accepted.EXTENSION_NAME]
    return known["PMCE"].create_from_offer_accept(True, accepted), accepted.get_extension_string()


def _deflate(accepted: Any, packers: Packers) -> tuple[Deflate, str]:
    offer = accepted.offer
    alone = accepted.no_context_takeover
    if alone is None:
        alone = offer.request_no_context_takeover
    server_bits = accepted.window_bits or offer.request_max_window_bits or _LARGEST
    # Never above the offer, of which Autobahn's class does not know.
    client_bits = min(accepted.request_max_window_bits, getattr(offer, "client_max_window_bits", _LARGEST))
    answer = [Deflate.EXTENSION_NAME]
    if alone:
        answer.append("server_no_context_takeover")
    if offer.request_max_window_bits:
        answer.append(f"server_max_window_bits={server_bits}")
    if accepted.request_no_context_takeover:
        answer.append("client_no_context_takeover")
    if client_bits:
        answer.append(f"client_max_window_bits={client_bits}")
    packer = packers.packer(server_bits, accepted.mem_level or _ZLIBS_LEVEL, takes_over=not alone)
    # Who is told 8 and has zlib takes 9, and does not say so.
    unpacker_bits = max(client_bits, _SMALLEST) if client_bits else _LARGEST
    unpacker = Unpacker(unpacker_bits, takes_over=not accepted.request_no_context_takeover)
    return Deflate(packer, unpacker, accepted.max_message_size), "; ".join(answer)
