"""One connection: its opening, its frames, its protocol."""

from importlib import import_module

try:
    import_module("autobahn.asyncio")  # before any module of this room does it
except RuntimeError as exc:
    raise ImportError(
        "Autobahn is in use with Twisted in this process, as daphne does, and cannot be with asyncio too: "
        "serve aiorest-ws by uvicorn, hypercorn or granian"
    ) from exc
