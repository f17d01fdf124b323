"""One publication and those who subscribe → a push in the form of each, encoded once for all of a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ("Subscriber", "fan_out", "sent")


class Subscriber:
    """One who is told of a topic.

    connection    where it is
    form          of its pushes
    position      number of what it was sent last
    seen          which value it has, of those that were sent for its topic
    is_held       nothing may be sent to it now
    """

    __slots__ = ("connection", "form", "is_held", "position", "seen")

    def __init__(self, connection: Any, form: int, position: int) -> None:
        self.connection = connection
        self.form = form
        self.position = position
        self.seen = 0
        self.is_held = False


def sent(subscriber: Subscriber, payloads: list[bytes]) -> bool:
    """Send rendered pushes to one; False, and nothing is sent, if it may not or its client does not read."""
    if subscriber.is_held or not subscriber.connection._takes_pushes():
        return False
    subscriber.connection._push(payloads, subscriber.form)
    return True


def fan_out(
    subscribers: list[Any], since: int, number: int, seen: int, pushes: Callable[[int], list[bytes]]
) -> tuple[int, list[Any]]:
    """Send what is new to those at `since`, who are at `number` then; give how many, and all who are not there.

    pushes    form → the rendered pushes; asked once for each form
    """
    by_form: dict[int, list[bytes]] = {}
    told = 0
    left = []
    for subscriber in subscribers:
        if subscriber.position == since:
            form = subscriber.form
            payloads = by_form.get(form)
            if payloads is None:
                payloads = by_form[form] = pushes(form)
            if sent(subscriber, payloads):
                subscriber.position = number
                subscriber.seen = seen
                told += 1
                continue
        left.append(subscriber)
    return told, left
