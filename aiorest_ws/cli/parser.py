"""What a command takes → a parser; what was typed → a namespace, or the one line that says which word was meant."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NoReturn

from aiorest_ws.callables.spelling import meant
from aiorest_ws.cli.failures import USAGE, Failure
from aiorest_ws.peers import OPTIONS

__all__ = ("Parser",)

# What they are elsewhere: uvicorn, gunicorn, flask, curl.
_LETTERS: Final = {
    "-p": "--port",
    "-b": "--bind",
    "-w": "--workers",
    "-r": "--reload",
    "-d": "--data",
    "-H": "--header",
    "-k": "--insecure",
}


class Parser(ArgumentParser):
    """A parser that takes no abbreviations, and options among positional arguments.

    elsewhere    flags that there are not, and what to do instead
    values       flags that may stand without a value, and those that may follow them: any other word is no value
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", RawDescriptionHelpFormatter)
        super().__init__(**options, allow_abbrev=False)
        self.elsewhere: Mapping[str, str] = {}
        self.values: Mapping[str, Collection[str]] = {}

    def parse(self, argv: Sequence[str]) -> Namespace:
        """Give what `argv` says. Raises Failure; SystemExit behind the help."""
        known, rest = self.parse_known_intermixed_args(self._parted(argv))
        flag = next((word for word in rest if word.startswith("-") and len(word) > 1), None)
        if flag is not None:
            self.error(self._unknown(flag.partition("=")[0]))
        if rest:
            self.error(f"one too many: {' '.join(rest)!r:.200}")
        return known

    def error(self, message: str) -> NoReturn:
        raise Failure(f"{self.prog.partition(' ')[2]}: {message.removeprefix('argument ')}", USAGE)

    def _parted(self, argv: Sequence[str]) -> list[str]:
        """Give `argv`, where a flag that may stand alone takes no positional argument for its value."""
        words = list(argv)
        for place, word in enumerate(words):
            if word == "--":
                break
            if word in self.values:
                after = words[place + 1 : place + 2]
                if after and after[0].lower() in self.values[word]:
                    words[place : place + 2] = [f"{word}={after[0]}"]
                else:
                    words[place] = f"{word}={next(iter(self.values[word]))}"
        return words

    def _unknown(self, flag: str) -> str:
        if flag in self.elsewhere:
            return f"{flag}: {self.elsewhere[flag]}"
        known = [name for name in self._option_string_actions if name.startswith("--")]
        if len(flag) == 2:
            near = _of_peers(_LETTERS.get(flag, ""), known)
        else:
            near = meant(flag, (*known, *self.elsewhere)) or _of_peers(flag, known)
        cure = f"did you mean {near}?" if near else f"see {self.prog} --help"
        return f"unknown option {flag:.100}, {cure}"


def _of_peers(flag: str, known: Collection[str]) -> str | None:
    """Give which of the flags `known` does what other frameworks have `flag` for."""
    option = OPTIONS.get(flag.removeprefix("--").replace("-", "_"), "")
    ours = f"--{option.replace('_', '-')}"
    return next((each for each in (flag, ours) if each in known), None)
