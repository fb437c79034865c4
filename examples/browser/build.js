// Bundles src/ with onnxruntime-web into dist/, beside the model of model/.

import { cp, mkdir, rm, stat } from "node:fs/promises";
import { build } from "esbuild";

const MODEL = ["manifest.json", "model.onnx"];
const RUNTIME = ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];

for (const name of MODEL) {
  await stat(`model/${name}`).catch(() => {
    console.error(`model/${name} is missing. Write it with: python -m ser_core export compact model`);
    process.exit(2);
  });
}
await rm("dist", { recursive: true, force: true });
await mkdir("dist");
for (const name of MODEL) await cp(`model/${name}`, `dist/${name}`);
for (const name of RUNTIME) await cp(`node_modules/onnxruntime-web/dist/${name}`, `dist/${name}`);
for (const name of ["index.html", "page.css"]) await cp(`src/${name}`, `dist/${name}`);
await build({
  entryPoints: ["src/page.js", "src/worker.js", "src/recorder.js"],
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
});
