"""All that names a version → one line, or what differs: package, CHANGELOG, npm package, dist/."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def named() -> dict[str, str]:
    """Give where a version is named → the version."""
    source = (ROOT / "aiorest_ws/__init__.py").read_text("utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    package = (ROOT / "clients/typescript/package.json").read_text("utf-8")
    found = {
        "aiorest_ws/__init__.py": re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE),
        "CHANGELOG.md": re.findall(r"^## (\S+)", changes, re.MULTILINE)[:1],
        "clients/typescript/package.json": [json.loads(package)["version"]],
    }
    for built in sorted((ROOT / "dist").glob("aiorest_ws-*")):
        found[f"dist/{built.name}"] = re.findall(r"^aiorest_ws-(.+?)(?:-.*\.whl|\.tar\.gz)$", built.name)
    return {where: versions[0] if versions else "none" for where, versions in found.items()}


def main() -> int:
    versions = named()
    if len(set(versions.values())) == 1:
        print(f"ok: version {next(iter(versions.values()))} in {', '.join(versions)}")
        return 0
    print("versions differ:", *(f"  {where}: {version}" for where, version in versions.items()), sep="\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
