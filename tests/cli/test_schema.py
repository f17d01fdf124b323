"""`schema`: the document of an application, and the check of a file that holds it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.kit.cli import Cli

PROGRAM = """
from aiorest_ws import Application, SimpleRouter
router = SimpleRouter()
@router.get("/")
def index(request): return 1
app = Application(router)
"""


def test_which_document(cli: Cli) -> None:
    for flags, says in (((), '{\n  "openapi": "3.1.0"'), (("--asyncapi",), '{\n  "asyncapi": "3.0.0"')):
        said = cli("schema", *flags, "--title", "Titled", f"{cli.write(PROGRAM)}:app")
        assert (said.code, said.err) == (0, "")
        assert said.out.startswith(says)
        assert '"title": "Titled"' in said.out


def test_the_command_and_its_check(cli: Cli, tmp_path: Path) -> None:
    name = cli.write(PROGRAM)
    said = cli("schema", f"{name}:app")
    assert (said.code, said.err) == (0, "")
    kept = tmp_path / "openapi.json"
    kept.write_text(said.out, "utf-8")
    again = cli("schema", "--check", str(kept), f"{cli.write(PROGRAM)}:app")
    assert (again.code, again.out, again.err) == (0, "", "")
    document = json.loads(said.out)
    for same in (  # as formatters and other shells leave it
        json.dumps(document, indent="\t", sort_keys=True).encode(),
        said.out.replace("\n", "\r\n").encode("utf-8-sig"),
        said.out.encode("utf-16"),
    ):
        kept.write_bytes(same)
        assert cli("schema", "--check", str(kept), f"{cli.write(PROGRAM)}:app").code == 0
    for change, where in (
        (lambda it: it.clear(), "openapi differs"),
        (lambda it: it["paths"]["/"]["get"].update(summary="Other"), "paths./.get.summary differs"),
        (lambda it: it["paths"].update({"/x": None}), "paths./x differs"),
        (lambda it: it["paths"]["/"]["get"].update(tags=[1]), "paths./.get.tags differs"),
        (lambda it: it["info"].update(version=1), "info.version differs"),
    ):
        other = json.loads(said.out)
        change(other)
        kept.write_text(json.dumps(other), "utf-8")
        failed = cli("schema", "--check", str(kept), f"{(name := cli.write(PROGRAM))}:app")
        assert (failed.code, where in failed.err) == (1, True), failed.err
        assert f"`aiorest-ws schema {name}:app > {kept}`" in failed.err
    kept.write_text("[]", "utf-8")
    assert "the whole differs" in cli("schema", "--check", str(kept), f"{cli.write(PROGRAM)}:app").err
    for wrong in ("", "{", '{"openapi'):
        kept.write_text(wrong, "utf-8")
        failed = cli("schema", "--check", str(kept), f"{cli.write(PROGRAM)}:app")
        assert (failed.code, "cannot be read" in failed.err) == (1, True)
    assert cli("schema", "--check", str(tmp_path / "none"), f"{cli.write(PROGRAM)}:app").code == 1
