"""The settings module of a program → its settings, read when they are first asked for.

`AIORESTWS_SETTINGS_MODULE` names the module. Its names in upper case are attributes of `settings`, the application's
own names too; those that begin with `AIOREST_WS_` are options of every Application (see `environment`).
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiorest_ws.exceptions import ImproperlyConfigured
from aiorest_ws.gone import missing

__all__ = ("VARIABLE", "Settings", "settings")

VARIABLE = "AIORESTWS_SETTINGS_MODULE"

_ISO = "iso-8601"


def _defaults() -> dict[str, Any]:
    """Give what 1.1.1 had for programs that set nothing; nothing here reads it."""
    return {
        "COERCE_DECIMAL_TO_STRING": True,
        "COMPACT_JSON": True,
        "DATABASES": {},
        "DATETIME_FORMAT": _ISO,
        "DATETIME_INPUT_FORMATS": (_ISO,),
        "DATE_FORMAT": _ISO,
        "DATE_INPUT_FORMATS": (_ISO,),
        "DEFAULT_ENCODING": "utf-8",
        "DEFAULT_LOGGING_SETTINGS": _logging(),
        "ISO_8601": _ISO,
        "MIDDLEWARE_CLASSES": (),
        "REST_CONFIG": {"NON_FIELD_ERRORS_KEY": "non_field_errors", "URL_FIELD_NAME": "url"},
        "SQLALCHEMY_ENGINE": None,
        "SQLALCHEMY_SESSION": None,
        "TIME_FORMAT": _ISO,
        "TIME_INPUT_FORMATS": (_ISO,),
        "TIME_ZONE": "America/Chicago",
        "UNICODE_JSON": True,
        "UPLOADED_FILES_USE_URL": True,
        "USE_ORM_ENGINE": False,
        "USE_TZ": False,
    }


def _logging() -> dict[str, Any]:
    """Give a configuration for `logging.config.dictConfig`; who wants it applies it."""
    line = {"format": "[%(asctime)s] [%(levelname)s] %(message)s", "datefmt": "%d/%b/%Y %H:%M:%S"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"verbose": line},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "verbose"}},
        "loggers": {"aiorest-ws": {"handlers": ["console"], "level": "INFO"}},
    }


class Settings:
    """The names in upper case of the settings module, over the defaults. One that is set here hides them."""

    def __init__(self) -> None:
        self._module = ""
        self._values: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        if not name.isupper():
            raise AttributeError(f"settings have names in upper case, got {name!r}")
        try:
            return self._read()[name]
        except KeyError:
            where = f"settings module {self._module!r}" if self._module else f"settings, as {VARIABLE} is not set,"
            raise AttributeError(f"{where} has no {name!r}", name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        return sorted({*self._read(), *(name for name in vars(self) if name.isupper())})

    def _read(self) -> dict[str, Any]:
        """Give all settings, from the module that the environment names now."""
        module = os.environ.get(VARIABLE, "")
        if self._values is None or module != self._module:
            values = _defaults() | _names_of(module)
            self._module, self._values = module, values
        return self._values


def _names_of(module: str) -> dict[str, Any]:
    """Give the names in upper case of a module. Raises ImproperlyConfigured, with one line."""
    if not module:
        return {}
    try:
        imported = import_module(module)
    except Exception as exc:
        missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ImproperlyConfigured(f"no settings module {module!r}, which {VARIABLE} names") from None
        first = str(exc).partition("\n")[0]
        raise ImproperlyConfigured(f"settings module {module!r} fails: {type(exc).__name__}: {first}") from exc
    return {name: value for name, value in vars(imported).items() if name.isupper()}


settings = Settings()


if not TYPE_CHECKING:  # type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        raise missing(__name__, name)
