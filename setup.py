"""The table of compiled modules: sources in, all of the extensions or none of them out.

`AIOREST_WS_NO_EXTENSIONS=1` builds none, `AIOREST_WS_REQUIRE_EXTENSIONS=1` fails when one cannot be built; with
neither, a missing compiler leaves the pure package. Everything else is in `pyproject.toml`.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HOT = Path("aiorest_ws", "_speedups")

# extension    from           beside it
TABLE = {
    "msgpack_c": ("msgpack.py", "msgpack_c.pxd"),
    "codec_c": ("codec.py", "codec_c.pxd"),
    "wrappers_c": ("wrappers.py", "wrappers_c.pxd"),
    "keeping_c": ("keeping.py", "keeping_c.pxd"),
    "plan_c": ("plan.py", "plan_c.pxd"),
    "meter_c": ("meter.py", "meter_c.pxd"),
    "proof_c": ("proof.py", "proof_c.pxd"),
    "envelope_c": ("envelope_c.pyx", "envelope_c.pxd", "base64_c.pxd"),
    "trie_c": ("trie_c.pyx", "trie_c.pxd"),
    "deflate_c": ("deflate.py", "deflate_c.pxd"),
    "frames_c": ("frames_c.pyx", "frames_c.pxd", "base64_c.pxd"),
    "eager_c": ("eager_c.pyx", "eager_c.pxd"),
    "tasks_c": ("tasks.py", "tasks_c.pxd"),
    "flow_c": ("flow.py", "flow_c.pxd"),
    "fanout_c": ("fanout.py", "fanout_c.pxd"),
    "connection_c": ("connection.py", "connection_c.pxd"),
    "carried_c": ("carried.py", "carried_c.pxd"),
    "replies_c": ("replies.py", "replies_c.pxd"),
    "guards_c": ("guards.py", "guards_c.pxd"),
    "passage_c": ("passage.py", "passage_c.pxd"),
    "pipeline_c": ("pipeline.py", "pipeline_c.pxd"),
}

DIRECTIVES = {
    "language_level": 3,
    "annotation_typing": False,  # annotations are for mypy; whatever compiling changes stands in the .pxd
    "nonecheck": True,  # None in place of one of our objects is an AttributeError as in Python, not a crash
}

# They come last and so would win over CFLAGS: who sets those has reasons (`make sanitize`).
OPTIMISED = ["-O3", "-g0"] if os.name == "posix" and "CFLAGS" not in os.environ else []

PURE = """
*******************************************************************************
aiorest-ws: the compiled hot path was NOT built; this is the pure Python package.
  It works, and is several times slower.
  Cause: {cause}
  Cure:  install a C compiler and Python's headers (Debian: apt-get install gcc
         python3-dev; macOS: xcode-select --install; Windows: Visual Studio Build
         Tools), then: pip install --force-reinstall --no-cache-dir --no-deps ...
  AIOREST_WS_REQUIRE_EXTENSIONS=1 makes this an error; AIOREST_WS_NO_EXTENSIONS=1
  asks for the pure package and silences this.
*******************************************************************************
"""


def switched_on(name: str) -> bool:
    return os.environ.get(name, "") not in ("", "0")


FORBIDDEN = switched_on("AIOREST_WS_NO_EXTENSIONS")
REQUIRED = switched_on("AIOREST_WS_REQUIRE_EXTENSIONS")
if FORBIDDEN and REQUIRED:
    sys.exit("AIOREST_WS_NO_EXTENSIONS and AIOREST_WS_REQUIRE_EXTENSIONS are both set: unset one of them")


class BuildAllOrNone(build_ext):
    """setuptools' own `optional` is per extension and would ship a half-compiled package."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.into_source_tree = self.inplace
        if self.parallel is None and os.name == "posix":
            self.parallel = True

    def build_extensions(self) -> None:
        try:
            self.try_the_compiler()
            from Cython.Build import cythonize

            # force: cythonize looks for codec.pxd beside codec.py, and would miss a change of codec_c.pxd.
            generated = cythonize(self.extensions, build_dir="build/cython", force=True, compiler_directives=DIRECTIVES)
            sources = {extension.name: extension.sources for extension in generated}
            for extension in self.extensions:
                extension.sources = sources[extension.name]
            super().build_extensions()
        except Exception as exc:
            cause = f"{type(exc).__name__}: {exc}"
            if REQUIRED:
                sys.exit(f"AIOREST_WS_REQUIRE_EXTENSIONS is set and the extensions cannot be built: {cause}")
            self.ship_none()
            print(PURE.format(cause=cause), file=sys.stderr, flush=True)

    def try_the_compiler(self) -> None:
        """Raise CompileError where there is no compiler or no header, before Cython works for half a minute."""
        with TemporaryDirectory() as where:
            source = Path(where, "probe.c")
            source.write_text("#include <Python.h>\n", "utf-8")
            self.compiler.compile([str(source)], output_dir=where)

    def ship_none(self) -> None:
        for extension in self.extensions:
            Path(self.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
            if self.into_source_tree:
                Path(HOT, Path(self.get_ext_filename(extension.name)).name).unlink(missing_ok=True)
        self.extensions = self.distribution.ext_modules = []
        wheel = self.distribution.get_command_obj("bdist_wheel", create=False)
        if wheel is not None:
            wheel.root_is_pure = True  # so that the wheel says py3-none-any


setup(
    cmdclass={"build_ext": BuildAllOrNone},
    ext_modules=[
        Extension(
            f"aiorest_ws._speedups.{name}",
            [f"{HOT.as_posix()}/{source}"],
            depends=[str(path) for path in (HOT / pxd for pxd in beside) if path.exists()],
            extra_compile_args=OPTIMISED,
        )
        for name, (source, *beside) in TABLE.items()
    ]
    if not FORBIDDEN
    else [],
)
