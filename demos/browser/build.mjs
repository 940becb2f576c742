// Puts together dist/, a folder of static files that needs no network:
//     npm ci && npm run build -- PATH/model.onnx
// Without a path, copy model.onnx and model.onnx.json into dist/ yourself.

import { copyFile, mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { argv } from "node:process";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const runtime = join(here, "node_modules", "onnxruntime-web", "dist");
const dist = join(here, "dist");

// The smallest of onnxruntime-web's variants: WebAssembly only.
const RUNTIME = [
  "ort.wasm.min.mjs",
  "ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm",
];
const PAGE = ["index.html", "style.css", "app.mjs", "preprocess.mjs"];

await rm(dist, { recursive: true, force: true });
await mkdir(join(dist, "runtime"), { recursive: true });
for (const name of PAGE) {
  await copyFile(join(here, "src", name), join(dist, name));
}
for (const name of RUNTIME) {
  await copyFile(join(runtime, name), join(dist, "runtime", name));
}
const model = argv[2];
if (model) {
  await copyFile(model, join(dist, "model.onnx"));
  await copyFile(`${model}.json`, join(dist, "model.onnx.json"));
}
