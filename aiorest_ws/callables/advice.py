"""An exception of a handler that comes of another framework's habits → a note behind its traceback."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ("advise",)

_OURS: Final = re.compile(r"^(?:Response|HTTPError)\.(?=__init__\(\))")  # which what is compiled does not say

# How what Python says of a call of ours begins, and what we say → what is meant.
_SAID: Final = {
    "__init__() got an unexpected keyword argument 'status_code'": "Response(data, status=201) and "
    "HTTPError(404, detail) call it `status`",
    "__init__() got an unexpected keyword argument 'headers'": "a reply has no headers of its own: return what belongs "
    "into them as data",
    "__init__() got an unexpected keyword argument 'content'": "it comes first: Response(data), HTTPError(404, detail)",
    "__init__() takes at most 1 positional argument": "the status has a name: Response(data, status=201)",
    "__init__() takes from 1 to 2 positional arguments": "the status has a name: Response(data, status=201)",
    "status must be an integer from 400 to 599, got '": "the status comes first: HTTPError(404, 'no such order')",
}


def advise(exc: BaseException, state: Any) -> None:
    """Add a note to `exc` if we know what is meant; once. `state` is the namespace of the application."""
    if type(exc) in (TypeError, ValueError):
        said = _OURS.sub("", str(exc), count=1)
        note = next((cure for text, cure in _SAID.items() if said.startswith(text)), None)
    elif isinstance(exc, AttributeError) and state is not None and exc.obj is state:
        note = f"nothing has set app.state.{exc.name}: a lifespan does so before the first request"
    else:
        note = None
    if note is not None and f"aiorest-ws: {note}" not in getattr(exc, "__notes__", ()):
        exc.add_note(f"aiorest-ws: {note}")
