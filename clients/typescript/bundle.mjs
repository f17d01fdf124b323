/** The client as one script for pages without a bundler, as those of the examples: `aiorestWs.createClient`. */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const path = fileURLToPath(new URL("../../examples/aiorest-ws.js", import.meta.url));
const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("src/index.ts", import.meta.url))],
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  globalName: "aiorestWs",
  target: "es2022",
  banner: { js: "// Made of clients/typescript/ by `npm run bundle`." },
  write: false,
});
const [{ text }] = outputFiles;
if (!process.argv.includes("--check")) await writeFile(path, text);
else if ((await readFile(path, "utf-8")) !== text) throw new Error(`${path} is not made of this source: npm run bundle`);
