"""A url that is subscribed to → its value, or its items, to all who listen here: nothing older, nothing twice."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiorest_ws.client.calls import Asking
from aiorest_ws.client.errors import ClientError, ConnectionLost, RequestFailed, UnexpectedReply, failure_of
from aiorest_ws.client.inbox import Change, Feed, Listener, Position, State
from aiorest_ws.client.reconnecting import LONG_LIFE, Backoff

if TYPE_CHECKING:
    from aiorest_ws.client.link import Link

__all__ = ("Topic", "Topics")

logger = logging.getLogger("aiorest_ws.client")

_FOR_LATER = (408, 409, 425, 429)
_STOPPING = 503


class Topic:
    """One url with its `args`, and who listens.

    name      as the server calls it on this connection, None while it does not
    state     "live"; "stale": what is known may be old; "ended"
    since     the version of the last value, of a state
    """

    def __init__(self, topics: Topics, key: str, asked: dict[str, Any]) -> None:
        self.key = key
        self.name: str | None = None
        self.state = State("stale")
        self.since: str | None = None
        self.listeners: list[Listener] = []
        self.watchers: list[Feed[State]] = []
        self._topics = topics
        self._asked = asked
        self._value: tuple[Change[Any], int] | None = None  # of a state
        self._is_log = False
        self._asking: Asking | None = None
        self._again = False  # it is to be asked once more
        self._backoff = topics.backoff()
        self._timer: asyncio.TimerHandle | None = None
        self._live_since = 0.0
        self._was_refused = False
        self._token: str | None = None  # with which it was asked for

    # Who listens

    @property
    def status(self) -> str:
        return self.state.status

    def _set(self, state: State) -> None:
        if state != self.state:
            self.state = state
            for watcher in self.watchers:
                watcher.put(state)

    def add(self, listener: Listener) -> None:
        self.listeners.append(listener)
        if self._value is not None:
            listener.put_value(*self._value)
        elif len(self.listeners) == 1 or self._is_log:
            self.ask()

    def remove(self, listener: Listener) -> None:
        """Let go of one; the last one ends it."""
        if listener in self.listeners:
            self.listeners.remove(listener)
            if not self.listeners:
                self._leave()

    def _leave(self) -> None:
        asking, name = self._asking, self.name
        self.end(None)
        link = self._topics.link
        was_sent = asking is not None and asking.is_sent
        if asking is not None:
            link.give_up(asking)
        if not link.is_open or (name is None and not was_sent) or self._topics.has(name):
            return
        if name is not None:
            link.tell(link.message_of("UNSUBSCRIBE", self._asked["url"], topic=name))
        else:
            link.tell(link.message_of("UNSUBSCRIBE", **{key: self._asked[key] for key in ("url", "args")}))
        self._topics.on_leave(name)

    def note_leave(self, name: str | None) -> None:
        """Take note that a name was left, which may be this one's: another spelling of its url."""
        if self._asking is not None:
            self._asking.left.append(name)

    def end(self, error: ClientError | None) -> None:
        """End it, and tell who listens why: None if it was wanted so."""
        self._forget_connection()
        self._topics.drop(self)
        self._set(State("ended", error))
        listeners, self.listeners = self.listeners, []
        watchers, self.watchers = self.watchers, []
        for listener in listeners:
            listener.end(error)
        for watcher in watchers:
            watcher.end()

    def catch_up(self, listener: Listener) -> None:
        """Get what a reader was too slow for."""
        if listener in self.listeners:
            self.ask()

    # What becomes of the connection

    def lose(self, why: ClientError | None) -> None:
        """Take note that the connection is gone: it is asked for again on the next one."""
        asking = self._asking
        self._forget_connection()
        if asking is not None:
            asking.finish()
        if self.status != "ended":
            self._set(State("stale", why))

    def _forget_connection(self) -> None:
        self._asking, self._again = None, False
        self._stop_timer()
        self._topics.unname(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def forget(self) -> None:
        """Forget what another user has seen."""
        self.since = self._value = None
        for listener in self.listeners:
            listener.forget()

    # What is asked

    def ask(self) -> None:
        """Subscribe, if there is a connection; once more, if that is under way."""
        link = self._topics.link
        if self.status == "ended" or not link.is_open:
            return
        if self._asking is not None:
            self._again = True
            return
        self._stop_timer()
        self._again = False
        since = self._position() if self._is_log else self.since
        message = link.message_of("SUBSCRIBE", since=since, **self._asked)
        self._token = link.connector.tokens.value
        self._asking = Asking(self, message["id"], link.payload_of(message), since)
        link.submit(self._asking, self._topics.timeout)

    def _position(self) -> str | None:
        """Give where a log is to go on: where the one stands who has read least. None: somebody begins."""
        positions = [listener.position for listener in self.listeners if not listener.is_behind]
        known = [position for position in positions if position is not None]
        if len(known) < len(positions):
            return None
        if not known:
            known = [listener.position for listener in self.listeners if listener.position is not None]
        epoch, number = min(known, default=("", 0))
        return f"{epoch}.{number}" if epoch else None

    def answered(self, asking: Asking, message: dict[str, Any]) -> None:
        if asking is not self._asking:
            return
        self._asking = None
        if message["status"] >= 400:
            self._failed(failure_of(message))
            return
        version = message.get("version")
        position = position_of(version)
        if message["status"] not in (200, 206, 304) or position is None or not isinstance(message.get("topic"), str):
            self.end(UnexpectedReply(f"{self._asked['url']}: a SUBSCRIBE was answered {message!r:.200}", message))
            return
        assert isinstance(version, str)
        self._topics.named(self, message["topic"])
        if self.name in asking.left or None in asking.left:
            self._again = True
        self._live_since = asyncio.get_running_loop().time()
        self._stop_timer()
        self._set(State("live"))
        self._is_log = version.count(".") == 1
        if message["status"] == 200 and self._is_log:
            self._begin_log(asking, message, position)
        elif not self._is_log and message["status"] != 206:
            self.since = version
            if message["status"] == 200:
                self._replace(message.get("data"), version, 0)
        if self._again:
            self.ask()

    def _begin_log(self, asking: Asking, message: dict[str, Any], position: Position) -> None:
        """Give the first value of a log to who begins, and to who has lost something."""
        version, data, key = message["version"], message.get("data"), message.get("key")
        for listener in self.listeners:
            known = listener.position
            if known is None or (asking.since is not None and known != position) or known[0] != position[0]:
                listener.put_value(Change(data, lost=known is not None, version=version), 0)
                listener.begin(position, data, key)
            elif known[1] < position[1]:
                self._again = True  # it was asked for who begins; this one goes on where it was

    def unanswered(self, asking: Asking, exc: ClientError) -> None:
        if asking is not self._asking:
            return
        self._asking = None
        if isinstance(exc, ConnectionLost):
            return  # it is asked for on the next one
        self._failed(exc)

    # What is told

    def push(self, message: dict[str, Any], size: int) -> None:
        status, version = message.get("status"), message.get("version")
        if status is not None:
            if type(status) is int:
                self._topics.unname(self)
                self._failed(failure_of(message))
            return
        position = position_of(version)
        if position is None or not isinstance(version, str):
            return
        if self._is_log:
            self._next(Change(message.get("data"), is_item=True, version=version), size, position)
            return
        known = position_of(self.since)
        if known is not None and known[0] == position[0] and position[1] < known[1]:
            return
        self.since = version
        if "data" in message:
            self._replace(message["data"], version, size)

    def _next(self, change: Change[Any], size: int, position: Position) -> None:
        """Give an item to who is to have it next; who lacks some before it gets them first."""
        epoch, number = position
        has_gap = False
        for listener in self.listeners:
            known = listener.position
            if known is None or listener.is_behind or (known[0] == epoch and known[1] >= number):
                continue
            if known == (epoch, number - 1):
                listener.put_item(change, size, position)
            else:
                has_gap = True
        if has_gap and self._asking is None:
            self.ask()

    def _replace(self, data: Any, version: str, size: int) -> None:
        self._value = Change(data, version=version), size
        for listener in self.listeners:
            listener.put_value(*self._value)

    # What goes wrong

    def _failed(self, exc: ClientError) -> None:
        """Come back later if that makes sense, else say why it ended."""
        if not isinstance(exc, RequestFailed):
            if isinstance(exc, UnexpectedReply):
                self.end(exc)
            else:
                self._later(exc, 0.0)
            return
        if exc.status == 401 and self._topics.can_renew and not self._is_refused_again():
            self._was_refused = True
            self._set(State("stale", exc))
            self._topics.link.connector.ask_for_other(self._token, lambda is_there: self._renewed(is_there, exc))
        elif exc.status >= 500 or exc.status in _FOR_LATER or exc.retry is not None:
            if exc.status == _STOPPING and exc.retry is not None:
                self._topics.link.connector.wait_besides(exc.retry)
            self._later(exc, exc.retry or 0.0)
        else:
            self.end(exc)

    def _is_refused_again(self) -> bool:
        return self._was_refused and self._life() < LONG_LIFE

    def _life(self) -> float:
        """Give the seconds for which it has been live, 0 if it was not."""
        return asyncio.get_running_loop().time() - self._live_since if self._live_since else 0.0

    def _renewed(self, is_there: bool, exc: ClientError) -> None:
        if is_there:
            self.ask()
        elif self.status != "ended":
            self.end(exc)

    def _later(self, why: ClientError, retry: float) -> None:
        life, self._live_since = self._life(), 0.0
        self._stop_timer()
        level = logging.INFO if life or self._backoff.failures else logging.WARNING  # it may never have worked
        wait = self._backoff.after(life, retry)
        logger.log(level, "%s: %s: subscribed to again in %.1f s", self._asked["url"], why, wait)
        self._timer = asyncio.get_running_loop().call_later(wait, self.ask)
        self._set(State("stale", why, wait))


class Topics:
    """All that a client subscribes to."""

    def __init__(self, link: Link, backoff: Callable[[], Backoff], timeout: float | None) -> None:
        self.link = link
        self.backoff = backoff
        self.timeout = timeout
        self._by_key: dict[str, Topic] = {}
        self._by_name: dict[str, list[Topic]] = {}

    @property
    def can_renew(self) -> bool:
        return self.link.connector.tokens.can_renew

    def listen(self, url: str, args: Any = None, presence: Any = None, extra: Any = None) -> tuple[Topic, Listener]:
        """Give the topic of a url, and one who listens to it. Raises TypeError for what JSON cannot say."""
        asked = {**(extra or {}), "url": url, "args": args or None, "presence": presence}
        key = json.dumps(asked, sort_keys=True, default=str)
        topic = self._by_key.get(key)
        if topic is None:
            self.link.payload_of({"method": "SUBSCRIBE", **asked})  # raises here, and not once it is asked for
            topic = self._by_key[key] = Topic(self, key, asked)
        listener = Listener(topic.catch_up)
        topic.add(listener)
        return topic, listener

    def on_push(self, message: dict[str, Any], size: int) -> None:
        name = message.get("event_name")
        for topic in list(self._by_name.get(name, ())) if isinstance(name, str) else ():
            topic.push(message, size)

    def on_open(self) -> None:
        for topic in list(self._by_key.values()):
            topic.ask()

    def on_loss(self, why: ClientError | None) -> None:
        for topic in list(self._by_key.values()):
            topic.lose(why)

    def on_user(self) -> None:
        for topic in list(self._by_key.values()):
            topic.forget()

    def on_leave(self, name: str | None) -> None:
        for topic in self._by_key.values():
            topic.note_leave(name)

    def end(self, error: ClientError | None) -> None:
        for topic in list(self._by_key.values()):
            topic.end(error)

    def has(self, name: str | None) -> bool:
        return name is not None and bool(self._by_name.get(name))

    def named(self, topic: Topic, name: str) -> None:
        if topic.name != name:
            self.unname(topic)
            topic.name = name
            self._by_name.setdefault(name, []).append(topic)

    def unname(self, topic: Topic) -> None:
        name, topic.name = topic.name, None
        if name is not None:
            self._by_name[name].remove(topic)
            if not self._by_name[name]:
                del self._by_name[name]

    def drop(self, topic: Topic) -> None:
        self.unname(topic)
        if self._by_key.get(topic.key) is topic:
            del self._by_key[topic.key]


def position_of(version: Any) -> Position | None:
    """Give epoch and number of a version; None for what is none."""
    if not isinstance(version, str):
        return None
    epoch, _, rest = version.partition(".")
    number = rest.partition(".")[0]
    if not epoch or not number.isascii() or not number.isdecimal() or len(number) > 18:
        return None
    return epoch, int(number)
