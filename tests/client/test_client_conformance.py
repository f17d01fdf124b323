"""The scenarios that each client has to pass (tests/client/conformance/), with `AsyncClient`."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aiorest_ws.client import AsyncClient, ConnectionLost, RequestFailed, TimedOut
from tests.client.conformance.world import COMMANDS, World, a_world, obey
from tests.serving import LOOPS, TIMEOUT, asynchronous, turn_over, until

FOLDER = Path(__file__).parent / "conformance"
SCENARIOS = json.loads((FOLDER / "scenarios.json").read_text("utf-8"))
KINDS = {"failed": RequestFailed, "lost": ConnectionLost, "late": TimedOut}


class Run:
    """A scenario on its way."""

    def __init__(self, world: World, tokens: list[dict[str, Any]] | None, options: dict[str, Any]) -> None:
        self.world = world
        self._tokens = None if tokens is None else list(tokens)
        self.asked = 0  # for tokens
        self._named: dict[str, Any] = {}
        token = None if tokens is None else self._token
        self.api = AsyncClient(f"ws://127.0.0.1:{world.line.port}", token=token, backoff=(0.0, 0.01), **options)

    async def _token(self) -> str:
        assert self._tokens is not None
        self.asked += 1
        given = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        return await self.world.token(**given)

    async def step(self, step: dict[str, Any]) -> None:
        """Do a step: its first key says which."""
        await getattr(self, f"do_{next(iter(step))}")(step)

    async def do_world(self, step: dict[str, Any]) -> None:
        given = await obey(self.world, step["world"])
        for name, wanted in step.get("has", {}).items():
            assert given[name] == wanted, given
        assert [name for name in step.get("lacks", ()) if name in given] == []

    async def do_call(self, step: dict[str, Any]) -> None:
        options: dict[str, Any] = {name: step[name] for name in ("args", "data", "timeout") if name in step}
        if "key" in step:
            options["idempotency_key"] = step["key"]
        call = asyncio.create_task(self.api.request(step["call"], step["url"], **options))
        if "as" in step:
            self._named[step["as"]] = call
            await turn_over()
        else:
            await self._outcome(call, step)

    async def do_await(self, step: dict[str, Any]) -> None:
        await self._outcome(self._named[step["await"]], step)

    async def _outcome(self, call: asyncio.Task[Any], step: dict[str, Any]) -> None:
        if "fails" in step:
            with pytest.raises(KINDS[step["fails"]["kind"]]) as caught:
                await call
            self._compare(caught.value, step["fails"])
        else:
            given = await call
            assert "gives" not in step or given == step["gives"]

    def _compare(self, exc: Any, wanted: dict[str, Any]) -> None:
        for name, value in wanted.items():
            assert name == "kind" or getattr(exc, name) == value

    async def do_cancel(self, step: dict[str, Any]) -> None:
        call = self._named.pop(step["cancel"])
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()

    async def do_subscribe(self, step: dict[str, Any]) -> None:
        self._named[step["as"]] = self.api.subscribe(step["subscribe"], presence=step.get("presence"))

    async def do_events(self, step: dict[str, Any]) -> None:
        await self.api.connect()
        self._named[step["events"]] = self.api.events()

    async def do_next(self, step: dict[str, Any]) -> None:
        iterated = self._named[step["next"]]
        if "ends" in step:
            with pytest.raises((RequestFailed, StopAsyncIteration)) as caught:
                await anext(iterated)
            assert isinstance(caught.value, StopAsyncIteration) is (step["ends"] is None)
            self._compare(caught.value, step["ends"] or {})
            return
        given = await anext(iterated)
        if "event" in step:
            assert {"name": given.name, "data": given.data} == step["event"]
        else:
            kind = "item" if given.is_item else "value"
            assert {kind: given.data} == {name: step[name] for name in ("item", "value") if name in step}
            assert given.lost is step.get("lost", False)

    async def do_leave(self, step: dict[str, Any]) -> None:
        self._named.pop(step["leave"]).close()

    async def do_status(self, step: dict[str, Any]) -> None:
        await until(lambda: self._named[step["status"]].status == step["is"])

    async def do_client(self, step: dict[str, Any]) -> None:
        await until(lambda: self.api.status == step["client"])

    async def do_tokens(self, step: dict[str, Any]) -> None:
        """Wait until so many tokens have been asked for, and no more."""
        await until(lambda: self.asked >= step["tokens"])
        assert self.asked == step["tokens"]

    async def do_sign_in(self, step: dict[str, Any]) -> None:
        given = step["sign_in"]
        await self.api.sign_in(None if given is None else await self.world.token(**given))

    async def do_settle(self, step: dict[str, Any]) -> None:
        """Let what has come be taken."""
        await turn_over(20)

    async def do_close(self, step: dict[str, Any]) -> None:
        await self.api.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario["name"] for scenario in SCENARIOS])
@asynchronous
async def test_scenario(scenario: dict[str, Any], loop: str) -> None:
    async with a_world() as world:
        run = Run(world, scenario.get("tokens"), scenario.get("options", {}))
        try:
            for step in scenario["steps"]:
                await run.step(step)
        finally:
            await run.api.close()


def test_names_of_scenarios_are_different_and_their_steps_are_known() -> None:
    assert len({scenario["name"] for scenario in SCENARIOS}) == len(SCENARIOS) > 30
    for scenario in SCENARIOS:
        assert set(scenario) <= {"name", "steps", "options", "tokens", "needs"}
        for step in scenario["steps"]:
            assert hasattr(Run, f"do_{next(iter(step))}")
            assert "world" not in step or step["world"]["do"] in COMMANDS


def test_the_page_beside_them_has_each_command_and_each_step() -> None:
    page = (FOLDER / "README.md").read_text("utf-8")
    steps = [name.removeprefix("do_") for name in vars(Run) if name.startswith("do_")]
    assert [name for name in (*COMMANDS, *steps) if f"`{name}`" not in page] == []


@asynchronous
async def test_the_world_is_a_program_that_obeys_by_lines() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "tests.client.conformance.world"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=FOLDER.parent.parent.parent,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def obeyed(**command: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command).encode() + b"\n")
        return json.loads(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))

    assert "the first command is" in (await obeyed(do="seen"))["error"]
    for value in (5, 6):
        url = (await obeyed(do="begin"))["gives"]["url"]
        async with AsyncClient(url) as api:
            assert await api.get("/value") == 1
            assert await obeyed(do="set", value=value) == {"gives": None}
            assert await api.get("/value") == value
    assert (await obeyed(do="seen"))["gives"]["connections"] == 1
    assert (await obeyed(do="nothing"))["error"].startswith("ValueError: expected one of ")
    assert (await obeyed(do="set"))["error"].startswith("TypeError: ")
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), TIMEOUT) == 0
