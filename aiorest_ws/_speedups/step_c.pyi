from asyncio import AbstractEventLoop, Task
from contextvars import Context
from typing import Any

def first_step(coroutine: Any, context: Context, loop: AbstractEventLoop, task: Task[None]) -> tuple[bool, Any]: ...
