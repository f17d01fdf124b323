"""The command `aiorest-ws`: its help at once, everything else from `aiorest_ws.cli`.

It stands beside the package, not in it: whoever imports a module of a package imports the package first, and what
`import aiorest_ws` brings takes longer than a page of help may. Python has imported `os` and `sys` before it starts.
"""

import os
import sys

__all__ = ("HELP", "main")

HELP = """\
usage: aiorest-ws COMMAND …

REST over WebSockets: serve an application, look at it, and talk to it.

commands:
  run        serve an application
  routes     list the routes of an application
  call       send one request to a server, and print the reply
  subscribe  print each change of a url, until Ctrl-C
  schema     print an OpenAPI or AsyncAPI document of an application
  token      make a JSON Web Token

options:
  -h, --help     this page; after a command, its options
  -V, --version  the version, and whether the hot path is compiled

examples:
  aiorest-ws run main:app --port 8000 --reload
  aiorest-ws routes main:app
  aiorest-ws call GET /users/7 --server ws://127.0.0.1:8000
  aiorest-ws subscribe /orders/7

exit codes:
  0 done, 1 cannot, 2 wrong usage, 3 no connection or no reply, 130 Ctrl-C;
  4 and 5: the reply was an error, this is the first digit of its status
"""

_PIPE_CLOSED = 128 + 13  # as if ended by SIGPIPE
_INTERRUPTED = 128 + 2  # as if ended by SIGINT


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv`, or the command line, says; give its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if sys.stdout is None:  # closed by who started it: `>&-`
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for good)
    try:
        code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        _let_go_of_output()
        return _PIPE_CLOSED
    return code


def _run(argv: list[str]) -> int:
    if argv in (["-h"], ["--help"], ["help"]):
        print(HELP, end="")
        return 0
    from aiorest_ws.cli.commands import run

    return run(argv)


def _let_go_of_output() -> None:
    """Leave nothing to write to a pipe that nobody reads, which Python would try, and complain of, at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
