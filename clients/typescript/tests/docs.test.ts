/** The code of the page and of the readme, as a reader would put it into a file beside the schema. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const here = fileURLToPath(new URL("..", import.meta.url));
const pages = {
  page: "../../docs/clients/typescript.md",
  readme: "README.md",
  front: "../../README.md",
  subscriptions: "../../docs/how-to/subscriptions.md",
  home: "../../docs/index.md",
  login: "../../docs/how-to/login.md",
};
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
  mkdirSync(`${here}/tests/.docs`, { recursive: true });
  for (const [name, page] of Object.entries(pages)) {
    const blocks = [...readFileSync(here + page, "utf-8").matchAll(/^```tsx?\n(.*?)^```$/gms)].map(([, code]) => code);
    expect(blocks.length).toBeGreaterThan(0);
    writeFileSync(`${here}/tests/.docs/${name}.tsx`, around + blocks.join("\n"));
  }
  writeFileSync(`${here}/tests/.docs/tsconfig.json`, JSON.stringify(options));
  const done = await run("npx", ["tsc", "-p", "tests/.docs"], { cwd: here }).catch((error: { stdout: string }) => error);
  expect(done.stdout).toBe("");
});
