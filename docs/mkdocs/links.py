"""Links as GitHub follows them → links of the site; README.md and its neighbours become pages of it.

A link to a file that is no page (`bench/peers`) is left as its text. One that leads nowhere is an error, and so is a
built page that would load something from another server.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
}
SOURCES = {page: source for source, page in PAGES.items()}

# Code comes first: what looks like a link in it is none.
CODE_OR_LINK = re.compile(
    r"^```.*?^```$|(?<!`)`[^`\n]+`(?!`)|\[(?P<text>[^\]\n]+)\]\((?P<to>[^)\s]+)\)", re.MULTILINE | re.DOTALL
)
FROM_ELSEWHERE = re.compile(r'<(?:img|link|script|source|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//[^>]*>')


def on_files(files: Any, config: Any) -> Any:
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")

    def moved(match: re.Match[str]) -> str:
        text, to = match["text"], match["to"]
        if to is None or to.startswith("#") or "://" in to:
            return match[0]
        path, _, anchor = to.partition("#")
        target = normpath(join(dirname(source), path))
        if not (ROOT / target).exists():
            raise PluginError(f"{source}: the link to {to!r} leads nowhere")
        if target not in PAGES and not (target.startswith("docs/") and (ROOT / target).is_file()):
            return text
        to = relpath(PAGES.get(target, target.removeprefix("docs/")), dirname(here) or ".")
        return f"[{text}]({to}#{anchor})" if anchor else f"[{text}]({to})"

    return CODE_OR_LINK.sub(moved, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    found = FROM_ELSEWHERE.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri} would load something from another server: {found[0]}")
    return output
