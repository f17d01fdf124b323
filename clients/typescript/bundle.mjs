/** The client as one script for pages without a bundler, beside the pages of the examples: `aiorestWs.createClient`. */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("src/index.ts", import.meta.url))],
  bundle: true,
  charset: "utf8",
  format: "iife",
  globalName: "aiorestWs",
  target: "es2022",
  banner: { js: "// Made of clients/typescript/ by `npm run bundle`." },
  write: false,
});
const isCheck = process.argv.includes("--check");
for (const page of ["chat", "live_board"]) {
  const path = `${examples}${page}/aiorest-ws.js`;
  const text = outputFiles[0].text;
  if (!isCheck) await writeFile(path, text);
  else if ((await readFile(path, "utf-8")) !== text) throw new Error(`${path} is not made of this source: npm run bundle`);
}
