/** With the WebSocket that a runtime has by itself; `make test-runtimes` has more of them. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { served } from "./serving.js";

const run = promisify(execFile);
const here = fileURLToPath(new URL("..", import.meta.url));
// Node 20 has one behind this switch, and later ones take the switch, too.
const own = [process.execPath, "--experimental-websocket", "--no-warnings"];
const others = (process.env.RUNTIMES ?? "").split(";").filter(Boolean);
let server: Awaited<ReturnType<typeof served>>;

beforeAll(async () => {
  server = await served();
});
afterAll(() => server.end());

test.each([own, ...others.map((command) => command.split(" "))])("%s", async (command, ...options) => {
  const { stdout } = await run(command, [...options, "tests/runtime.mjs", server.url], { cwd: here });
  expect(stdout).toBe("told\n");
});
