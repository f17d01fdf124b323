"""The console in Chromium: first paint, and the frames while 10,000 messages come: `python -m bench.console`.

Needs Chromium (Debian: apt-get install chromium) and playwright, and a machine that does nothing else meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
from statistics import median
from typing import TYPE_CHECKING, Any

from aiorest_ws import Application, Request, SimpleRouter
from tests.kit.browsers import browser

if TYPE_CHECKING:
    from playwright.async_api import Page

MESSAGES = 10_000
WATCH = """() => {
  window.frames_ = []; window.tasks_ = [];
  let last = performance.now();
  const step = (time) => { frames_.push(time - last); last = time; requestAnimationFrame(step); };
  requestAnimationFrame((time) => { last = time; requestAnimationFrame(step); });
  new PerformanceObserver((list) => tasks_.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({type: "longtask"});
}"""

router = SimpleRouter()


@router.post("/storm")
async def storm(request: Request) -> int:
    """Push many events."""
    for number in range(MESSAGES):
        request.connection.send_event("storm", {"number": number, "text": "x" * 80})
        if number % 100 == 0:
            await asyncio.sleep(0)
    return MESSAGES


async def first_paint(page: Page, url: str) -> float:
    """Give the milliseconds from the request for the page to its first paint."""
    await page.goto(url)
    await page.wait_for_selector("#status[data-status=open]")
    painted = "new Promise((done) => new PerformanceObserver((list) => done(list.getEntries()[0].startTime))"
    return float(await page.evaluate(f"{painted}.observe({{type: 'paint', buffered: true}}))"))


async def frames(page: Page) -> tuple[float, float, float, float]:
    """Give the longest frame, the median one, the longest task, and all that it took, in ms."""
    await page.click(".route:has-text('/storm')")
    await page.evaluate(WATCH)
    began = await page.evaluate("performance.now()")
    await page.click("#send")
    await page.wait_for_selector("#reply-status:has-text('200')", timeout=60_000)
    took = await page.evaluate("performance.now()") - began
    seen: list[float] = await page.evaluate("frames_")
    tasks: list[float] = await page.evaluate("tasks_")
    return max(seen), median(seen), max(tasks, default=0.0), took


async def main(rounds: int) -> None:
    app = Application(router, port=0, http=True, console=True, max_push_buffer=8 * 1024 * 1024)
    await app.start()
    host, port = app.addresses[0][:2]
    async with browser() as chromium:
        for number in range(rounds):
            context: Any = await chromium.new_context(viewport={"width": 1400, "height": 900})
            page = await context.new_page()
            paint = await first_paint(page, f"http://{host}:{port}/console")
            longest, middle, task, took = await frames(page)
            print(
                f"{number + 1}: first paint {paint:.0f} ms; {MESSAGES} messages in {took:.0f} ms, "
                f"longest frame {longest:.0f} ms, median {middle:.0f} ms, longest task {task:.0f} ms",
                flush=True,
            )
            await context.close()
    await app.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(main(parser.parse_args().rounds))
