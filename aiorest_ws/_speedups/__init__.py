"""The only switch of the hot path: the names of its modules in, their compiled or their pure form out.

`AIOREST_WS_NO_EXTENSIONS=1` imports nothing compiled, `AIOREST_WS_REQUIRE_EXTENSIONS=1` raises ImportError when
a compiled module is missing, both are an error; with neither, the compiled modules are taken if all can be imported.
Only names are re-exported: an attribute `codec` here would be overwritten by whoever imports `._speedups.codec`.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

__all__ = (
    "BINARY_BASE64",
    "BINARY_JSON",
    "BINARY_MSGPACK",
    "BOUNDS",
    "COMPILED",
    "REASON",
    "TEXT_BASE64",
    "TEXT_JSON",
    "Begun",
    "Carried",
    "Connection",
    "Fan",
    "Meters",
    "Outbox",
    "Outgoing",
    "Packer",
    "Pipeline",
    "Plan",
    "Proof",
    "Request",
    "Response",
    "Resumed",
    "SpareTasks",
    "Subscriber",
    "Trie",
    "Unpacker",
    "again",
    "came_as",
    "decode",
    "dumps",
    "encode",
    "failed",
    "fan_out",
    "fan_out_state",
    "forms_of",
    "is_authenticated",
    "is_installed",
    "kept",
    "over",
    "plain",
    "quickest",
    "recognise",
    "refusal_of",
    "renders_otherwise",
    "set_method",
    "set_status",
    "texts_of",
    "verdict",
    "weight_of",
    "wrap",
    "write",
)

MODULES = (
    *("msgpack", "codec", "wrappers", "keeping", "envelope", "trie", "proof", "plan", "meter", "replies", "guards"),
    *("passage", "pipeline"),
    *("deflate", "frames", "flow", "eager", "tasks", "connection", "carried", "fanout"),
)

# Without --no-cache-dir pip takes the pure wheel that it has built before.
CURE = "install a C compiler and Python's headers, then: pip install --force-reinstall --no-cache-dir --no-deps ..."


def _switched_on(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


def _why_pure() -> str:
    """Say why the pure modules must be taken, "" if the compiled ones can be."""
    forbidden = _switched_on("AIOREST_WS_NO_EXTENSIONS")
    required = _switched_on("AIOREST_WS_REQUIRE_EXTENSIONS")
    if forbidden and required:
        raise ImportError("AIOREST_WS_NO_EXTENSIONS and AIOREST_WS_REQUIRE_EXTENSIONS are both set: unset one of them")
    if forbidden:
        return "AIOREST_WS_NO_EXTENSIONS is set"
    missing, broken = [], []
    for module in MODULES:
        name = f"{__name__}.{module}_c"
        try:
            import_module(name)
        except Exception as exc:  # a stale extension raises what it likes
            if isinstance(exc, ModuleNotFoundError) and exc.name == name:
                missing.append(f"{module}_c")
            else:
                broken.append(f"{module}_c: {type(exc).__name__}: {exc}")
    if len(missing) == len(MODULES):
        reason = f"no compiled modules in this installation: {CURE}"
    else:
        reason = "; ".join([*broken, *(f"{name} is missing" for name in missing)])
    if reason and required:
        raise ImportError(f"AIOREST_WS_REQUIRE_EXTENSIONS is set, but: {reason}")
    return reason


REASON = _why_pure()
COMPILED = not REASON

# A table of constants is no part of the hot path: one form serves both.
from .meter import BOUNDS  # noqa: E402

if TYPE_CHECKING or not COMPILED:
    from .carried import Carried, Outgoing
    from .codec import (
        BINARY_BASE64,
        BINARY_JSON,
        BINARY_MSGPACK,
        TEXT_BASE64,
        TEXT_JSON,
        decode,
        dumps,
        encode,
        plain,
        recognise,
        write,
    )
    from .connection import Connection
    from .deflate import Packer, Unpacker, quickest
    from .fanout import Fan, Outbox, Subscriber, fan_out, fan_out_state, forms_of
    from .guards import is_authenticated, refusal_of, verdict
    from .keeping import again, came_as, kept, over, renders_otherwise, set_method, set_status, weight_of
    from .meter import Meters
    from .msgpack import is_installed
    from .pipeline import Pipeline
    from .plan import Plan
    from .proof import Proof
    from .tasks import Begun, Resumed, SpareTasks
    from .trie import Trie
    from .wrappers import Request, Response, failed, texts_of, wrap
else:
    from .carried_c import Carried, Outgoing
    from .codec_c import (
        BINARY_BASE64,
        BINARY_JSON,
        BINARY_MSGPACK,
        TEXT_BASE64,
        TEXT_JSON,
        decode,
        dumps,
        encode,
        plain,
        recognise,
        write,
    )
    from .connection_c import Connection
    from .deflate_c import Packer, Unpacker, quickest
    from .fanout_c import Fan, Outbox, Subscriber, fan_out, fan_out_state, forms_of
    from .guards_c import is_authenticated, refusal_of, verdict
    from .keeping_c import again, came_as, kept, over, renders_otherwise, set_method, set_status, weight_of
    from .meter_c import Meters
    from .msgpack_c import is_installed
    from .pipeline_c import Pipeline
    from .plan_c import Plan
    from .proof_c import Proof
    from .tasks_c import Begun, Resumed, SpareTasks
    from .trie_c import Trie
    from .wrappers_c import Request, Response, failed, texts_of, wrap
