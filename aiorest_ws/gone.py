"""The name of a module or a class that 1.1.1 had, or that other frameworks have → an error that says what does it here.

`Finder` stands behind Python's own finders, so that it is asked only for modules that are not there. A module that has
lost a name asks `missing` from its `__getattr__`.
"""

from __future__ import annotations

import sys

from aiorest_ws.peers import MODULES, NAMES

__all__ = ("PLACES", "Finder", "missing")

_ORM = "use your ORM and typed models (docs/how-to/database.md)"
_TOKENS = "tokens are not stored: is_revoked of JSONWebTokenMiddleware asks whether one counts"
_USERS = "users are in your database: get_user of JSONWebTokenMiddleware asks it (docs/authentication.md)"
_PASSWORDS = "hash passwords with argon2-cffi or the like, as examples/auth_token does"
_ROUTER = "the router does it: router.match(method, url), router.routes"
_DATES = "use datetime and zoneinfo; typed models take dates and times (docs/tutorial/3-typed.md)"

# What 1.1.1 had → what takes its place. The longest name that fits counts, and stands for all that is below it.
PLACES = {
    "VERSION": "use aiorest_ws.__version__",
    "auth.token.backends": f"{_TOKENS}; {_USERS}",
    "auth.token.utils": _TOKENS,
    "auth.user.abstractions.User": "use aiorest_ws.auth.user.models.User",
    "auth.user.exceptions": _USERS,
    "auth.user.models.UserSQLiteModel": f"{_USERS}; {_PASSWORDS}",
    "auth.user.utils": f"{_USERS}; {_PASSWORDS}",
    "conf.ENVIRONMENT_VARIABLE": "it is 'AIORESTWS_SETTINGS_MODULE'",
    "conf.UserSettingsHolder": "set attributes of aiorest_ws.conf.settings (docs/how-to/settings.md)",
    "conf.global_settings": "docs/reference/options.md has the defaults, settings are yours (docs/how-to/settings.md)",
    "db": _ORM,
    "db.backends": "use sqlite3, or a library of your database, opened in a lifespan (docs/tutorial/5-state.md)",
    "db.orm.exceptions": f"ValidationError is in aiorest_ws.exceptions; for the rest {_ORM}",
    "db.utils": "use sqlite3.Row, or a library of your database",
    "endpoints": _ROUTER,
    "log": "use logging.getLogger('aiorest_ws'), and access_log=True for requests (docs/observability.md)",
    "parsers": _ROUTER,
    "storages": _USERS,
    "test": "use aiorest_ws.testing, and pytest's monkeypatch on aiorest_ws.conf.settings (docs/how-to/testing.md)",
    "utils": "it was for the framework itself",
    "utils.date": _DATES,
    "utils.encoding": "use str, and bytes.decode",
    "utils.fields": _ORM,
    "utils.field_mapping": _ORM,
    "utils.functional": "use functools.cached_property",
    "utils.modify": "set the attribute: request.user = user",
    "utils.representation": _ORM,
    "utils.serializer_helpers": _ORM,
    "utils.structures": _ORM,
    "utils.text": "use str.capitalize",
    "utils.xmlutils": "use aiorest_ws.renderers.XMLRenderer",
    "validators": "registering checks; what clients send is checked by annotations (docs/tutorial/3-typed.md)",
    "views.MethodViewMeta": "inherit from aiorest_ws.views.MethodBasedView",
}


def place(name: str) -> str | None:
    """Find what takes the place of `name`, which is dotted, below `aiorest_ws`."""
    while name:
        if name in PLACES:
            return PLACES[name]
        name = name.rpartition(".")[0]
    return None


def missing(module: str, name: str) -> Exception:
    """Give what `__getattr__` of `module` raises for `name`: an ImportError only at `from … import …`.

    So `hasattr` is false. Python itself would say there of an AttributeError no more than that the name is not there.
    """
    below = f"{module}.{name}".partition(".")[2]
    is_import = _is_import()
    if below in PLACES:
        said = f"{module}.{name} of 1.1.1 is gone: {PLACES[below]}"
    elif cure := NAMES.get(name) or MODULES.get(below):
        said = f"module {module!r} has no {name!r}: {cure}"
    elif is_import and (near := _near(name, module)) is not None:
        said = f"cannot import name {name!r} from {module!r}, did you mean {near!r}?"
    else:
        return AttributeError(f"module {module!r} has no attribute {name!r}", name=name)
    return ImportError(said, name=module) if is_import else AttributeError(said, name=name)


def _is_import() -> bool:
    """Tell whether who asks the `__getattr__` that called `missing` is at `from … import …`."""
    from opcode import opname  # nobody needs it before something is missing

    asking = sys._getframe(3)
    return opname[asking.f_code.co_code[asking.f_lasti]] == "IMPORT_FROM"


def _near(name: str, module: str) -> str | None:
    from difflib import get_close_matches

    known = {each.lower(): each for each in getattr(sys.modules.get(module), "__all__", ())}
    return next((known[each] for each in get_close_matches(name.lower(), known, 1, 0.75)), None)


class Finder:
    """A finder of modules (`sys.meta_path`) that finds none, and says why there is none."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        head, _, rest = name.partition(".")
        if head != "aiorest_ws":
            return
        known = place(rest)
        if known is not None:
            raise ImportError(f"{name} of 1.1.1 is gone: {known}", name=name)
        if rest in MODULES:
            raise ModuleNotFoundError(f"there is no {name}: {MODULES[rest]}", name=name)
