/** src/ and the client beside it → one file in the package. `--check` says whether the one there is of these sources. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../../aiorest_ws/console/static/console.js");

const { metafile, outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: ["src/begin.ts"],
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"], // those that know light-dark() of the style sheet
  charset: "utf8",
  legalComments: "none",
  metafile: true,
  write: false,
});

// The sources by name, with a digest of all: who has no Node can tell, too, whether the file is of these sources.
const names = Object.keys(metafile.inputs).sort();
const digest = createHash("sha256");
for (const name of names) digest.update(readFileSync(join(here, name)));
const made = `/* ${digest.digest("hex")} of ${names.join(" ")} */\n${outputFiles[0].text}`;

if (!process.argv.includes("--check")) writeFileSync(out, made);
else if (made !== readFileSync(out, "utf8")) {
  console.error("aiorest_ws/console/static/console.js is not what its sources make: run `make console`, and commit it");
  process.exit(1);
}
