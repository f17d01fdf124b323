"""The pages that show what an application has: the console, and Swagger UI where the extra `docs` is installed.

What they are made of is in `static/`. `console.js` there is built of clients/console (`make console`), which is not in
the wheel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ("File", "console_files", "is_wanted")

_SCRIPT = "text/javascript; charset=utf-8"
_STYLE = "text/css; charset=utf-8"
_PAGE = "text/html; charset=utf-8"
# Nothing from elsewhere, nothing that is written into the page, and nobody puts it into a frame.
_STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Swagger UI writes styles into its elements.
_SWAGGER = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_MISSING = b"Swagger UI is not installed: pip install 'aiorest-ws[docs]>=2'. The console at /console needs no more.\n"

Headers = tuple[tuple[str, str], ...]


class File(NamedTuple):
    """What is served at one path.

    make         gives its bytes
    is_public    it says nothing of the application, and its page cannot say for whom it asks for it
    """

    make: Callable[[], bytes]
    media_type: str
    headers: Headers = ()
    is_public: bool = False


def is_wanted(options: Mapping[str, Any]) -> bool:
    """Tell whether an application of these options shows its pages: as it says, else where it is debugged."""
    console = options["console"]
    return bool(options["debug"] if console is None else console)


def console_files(served_path: str, prefix: str = "") -> dict[str, File]:
    """Give the pages and what belongs to them, by path.

    served_path    where WebSockets are taken, "/" or "/ws"
    prefix         below which the pages are served, and WebSockets are not, "/api"
    """
    # Relative, as a proxy may serve all of it below a path of its own.
    sockets = f"./{'../' * prefix.count('/')}{served_path.lstrip('/')}"
    return {
        "/console": File(partial(_console, sockets), _PAGE, _guarded(_STRICT)),
        "/console/": _moved("../console"),
        # The page's worker is of the same file, and heeds what comes with that.
        "/console/console.js": File(partial(_static, "console.js"), _SCRIPT, _guarded(_STRICT), is_public=True),
        "/console/console.css": File(partial(_static, "console.css"), _STYLE, is_public=True),
        **_swagger_files(),
    }


def _guarded(policy: str) -> Headers:
    return (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"))


def _static(name: str) -> bytes:
    return (files(__name__) / "static" / name).read_bytes()


def _console(sockets: str) -> bytes:
    return _static("index.html").replace(b"{path}", escape(sockets).encode())


def _moved(where: str) -> File:
    """Give a page that leads to another: with a slash behind its path, its links would lead elsewhere."""
    text = f'<!doctype html><meta http-equiv="refresh" content="0; url={where}"><a href="{where}">{where}</a>'
    return File(text.encode, _PAGE, _guarded("default-src 'none'"))


def _swagger_files() -> dict[str, File]:
    package = find_spec("offapi")  # it is not imported: that would read all that it carries
    if package is None or package.origin is None:
        return {"/docs": File(lambda: _MISSING, "text/plain; charset=utf-8")}
    folder = Path(package.origin).parent
    return {
        "/docs": File(partial(_static, "docs.html"), _PAGE, _guarded(_SWAGGER)),
        "/docs/": _moved("../docs"),
        "/docs/docs.js": File(partial(_static, "docs.js"), _SCRIPT, is_public=True),
        "/docs/swagger.js": File((folder / "swagger_bundle.js").read_bytes, _SCRIPT, is_public=True),
        "/docs/swagger.css": File((folder / "swagger_style.css").read_bytes, _STYLE, is_public=True),
    }
