/** The code of the page and of the readme, as a reader would put it into a file beside the schema. */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const here = fileURLToPath(new URL("..", import.meta.url));
const root = `${here}../../`;
// Every page that has such code, and both readmes.
const pages = [
  "README.md",
  "clients/typescript/README.md",
  ...readdirSync(`${root}docs`, { recursive: true, encoding: "utf-8" }).map((name) => `docs/${name}`),
]
  .filter((name) => name.endsWith(".md"))
  .filter((name) => /^\s*```tsx?\n/m.test(readFileSync(root + name, "utf-8")));
const around = `declare function fetchToken(): Promise<string>;
declare function show(value: unknown): void;
declare function add(item: unknown): void;
`;
const options = {
  extends: "../../tsconfig.json",
  compilerOptions: { noEmit: true, rootDirs: [".", ".."] },
  include: ["*.tsx", "../schema.d.ts"],
  exclude: [],
};

test("the code of the documentation is right", { timeout: 180_000 }, async () => {
  rmSync(`${here}/tests/.docs`, { recursive: true, force: true });
  mkdirSync(`${here}/tests/.docs`, { recursive: true });
  expect(pages.length).toBeGreaterThan(6);
  for (const page of pages) {
    const text = readFileSync(root + page, "utf-8");
    const blocks = [...text.matchAll(/^```tsx?\n(.*?)^```$/gms)].map(([, code]) => code);
    expect([page, blocks.length]).toEqual([page, text.match(/^\s*```tsx?\n/gm)?.length]); // an indented one, too, would count
    writeFileSync(`${here}/tests/.docs/${page.replaceAll(/\W/g, "_")}.tsx`, around + blocks.join("\n"));
  }
  writeFileSync(`${here}/tests/.docs/tsconfig.json`, JSON.stringify(options));
  const done = await run("npx", ["tsc", "-p", "tests/.docs"], { cwd: here }).catch((error: { stdout: string }) => error);
  expect(done.stdout).toBe("");
});
