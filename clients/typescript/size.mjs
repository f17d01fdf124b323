// What a page loads: minified and gzipped, without React itself. Fails above the limits.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const limits = { index: 6144, react: 7168 };
for (const [name, limit] of Object.entries(limits)) {
  const { outputFiles } = await build({
    entryPoints: [`dist/${name}.js`], bundle: true, minify: true, format: "esm", external: ["react"], write: false,
  });
  const size = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${size} of at most ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
}
