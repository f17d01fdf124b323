/** What is published, and what it costs to have it running. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const here = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(`${here}/package.json`, "utf-8"));

test("the package holds what is built, its license and its readme", async () => {
  const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd: here });
  const [{ files }] = JSON.parse(stdout);
  const modules = ["calls", "errors", "index", "link", "purse", "react", "reader", "topics", "types"];
  const built = modules.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`]);
  expect(files.map(({ path }: { path: string }) => path).sort()).toEqual(["LICENSE", "README.md", ...built, "package.json"].sort());
});

test("it depends on nothing, and has the version of the server", () => {
  expect(manifest.dependencies).toBeUndefined();
  const server = readFileSync(`${here}/../../aiorest_ws/__init__.py`, "utf-8");
  expect(server).toContain(`__version__ = "${manifest.version}"`);
});

test("100,000 subscriptions and unsubscriptions leave less than 1 MB behind", { timeout: 180_000 }, async () => {
  const { stdout } = await run(process.execPath, ["--expose-gc", "tests/memory.mjs"], { cwd: here });
  expect(JSON.parse(stdout).growth).toBeLessThan(1_000_000);
});
