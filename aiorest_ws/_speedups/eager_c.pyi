from asyncio import AbstractEventLoop, Task
from contextvars import Context
from typing import Any

SEES_LOOKS: bool

class Lookout:
    loop: AbstractEventLoop
    task: Task[None]
    looked: bool
    def __init__(self, loop: AbstractEventLoop, task: Task[None]) -> None: ...
    def is_kept(self) -> bool: ...

def first_step(coroutine: Any, context: Context, lookout: Lookout) -> tuple[bool, Any]: ...
