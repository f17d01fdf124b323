"""Who subscribes to a url → `<url>/presence`, a shared live state of its own: how many they are, and who."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from orjson import dumps

from aiorest_ws._speedups import write
from aiorest_ws._speedups.unsendable import why_not
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.realtime.live import Live
from aiorest_ws.routing.building import fill_template

if TYPE_CHECKING:
    from aiorest_ws.realtime.node import LocalNode
    from aiorest_ws.realtime.timers import Timer

__all__ = ("PATH", "PRESENCE", "Presence", "entry_of", "listed", "members")

PATH = "/presence"
PRESENCE = Live(shared=True, interval=1.0)  # one push a second, at most

_GRACE = 5.0  # seconds in which a client whose connection was lost may come back, and has never been away
_LISTED = 200
_LARGEST = 1024  # bytes of what a client says of itself


def members(request: Any, *_: Any) -> Any:
    """Answer GET of `<url>/presence`: `{"count": 3, "members": [{"id": 7, …}, …]}`, 200 of them at most."""
    route = request.route
    url = fill_template(route.path, route.converters, request.path_params).removesuffix(f"{PATH}/")
    return request._pipeline.live.members(url or "/")


def entry_of(presence: Any, request: Any) -> dict[str, Any]:
    """Give what is listed of the member who makes `request`: what `presence` says, and what the client adds."""
    said = presence(request)
    if not isinstance(said, dict) or type(said.get("id")) not in (str, int):
        raise TypeError(f"presence must give a dict with an 'id', a string or an integer, got {said!r:.200}")
    try:
        write(said, 0)
    except Exception as exc:  # in the list it would take that from all
        raise TypeError(f"presence must give what JSON can say: {why_not(said)}") from exc
    given = request.get_extra("presence")
    if given is None:
        return dict(said)  # the application may go on with its own
    if type(given) is not dict:
        raise HTTPError(422, "`presence` must be an object")
    try:
        size = len(dumps(given))
    except TypeError as exc:
        raise HTTPError(422, f"`presence` must be what JSON can say: {exc}") from exc
    if size > _LARGEST:
        raise HTTPError(422, f"`presence` must be at most {_LARGEST} bytes of JSON, got {size}")
    return {"given": given, **said}


class _Member:
    """One who is there, with so many subscriptions; without any only for the time that it has to come back."""

    __slots__ = ("count", "leaving")

    def __init__(self) -> None:
        self.count = 0
        self.leaving: Timer | None = None


class Presence:
    """Who subscribes, in this process, to the urls that say so."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._urls: dict[str, dict[Any, _Member]] = {}
        self._entries: dict[str, dict[Any, dict[str, Any]]] = {}  # url → id → what is listed; the broker has these

    def join(self, url: str, entry: dict[str, Any]) -> None:
        """Take note of one more subscription of the member that `entry` describes."""
        here = self._urls.setdefault(url, {})
        member = here.setdefault(entry["id"], _Member())
        member.count += 1
        if member.leaving is not None:
            member.leaving.cancel()
            member.leaving = None
        entries = self._entries.setdefault(url, {})
        if entries.get(entry["id"]) != entry:
            entries[entry["id"]] = entry
            self._tell(url, entries)

    def leave(self, url: str, name: Any, *, may_come_back: bool) -> None:
        """Take note of one subscription less of the member whose id is `name`."""
        member = self._urls[url][name]
        member.count -= 1
        if member.count:
            return
        if may_come_back:
            member.leaving = self._node.timers.after(_GRACE, lambda: self._gone(url, name))
        else:
            self._gone(url, name)

    def _gone(self, url: str, name: Any) -> None:
        here, entries = self._urls[url], self._entries[url]
        del here[name], entries[name]
        if not here:
            del self._urls[url], self._entries[url]
        self._tell(url, entries)

    def stop(self) -> None:
        """Nobody is there any more."""
        for url in self._urls:
            self._say(self._node.broker.members(url, self._node), url)

    def _tell(self, url: str, entries: dict[Any, dict[str, Any]]) -> None:
        self._say(self._node.broker.members(url, self._node, entries), url)
        self._say(self._node.broker.changed(f"{url.rstrip('/')}{PATH}"), url)

    def _say(self, given: Any, url: str) -> None:
        self._node.pending.left(given, f"cannot tell other processes who is at {url}")


def listed(entries: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """Give what is told of all members."""
    return {"count": len(entries), "members": list(islice(entries.values(), _LISTED))}
