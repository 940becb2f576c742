import * as ort from "./runtime/ort.wasm.min.mjs";

import { preprocess } from "./preprocess.mjs";

const TOP = 5;

const drop = document.querySelector("#drop");
const file = document.querySelector("#file");
const picture = document.querySelector("#picture");
const status = document.querySelector("#status");
const answers = document.querySelector("#answers");

ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
// More threads need headers that a plain file server does not send.
ort.env.wasm.numThreads = 1;

async function load() {
  const answer = await fetch("model.onnx.json");
  if (!answer.ok) throw new Error("there is no model.onnx.json");
  const { preprocessing } = await answer.json();
  if (!preprocessing) {
    throw new Error("model.onnx.json has no preprocessing: export the model " +
      "with eca-keras export, or with preprocessing=...");
  }
  return [await ort.InferenceSession.create("model.onnx"), preprocessing];
}

async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, {
    imageOrientation: "from-image", // upright, as it is shown
    premultiplyAlpha: "none",
    colorSpaceConversion: "none",
  });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

async function classify(blob) {
  const start = performance.now();
  const pixels = await pixelsOf(blob);
  const { image_size: size, channels, labels } = settings;
  const images = new ort.Tensor("float32", preprocess(pixels, settings), [
    1, size, size, channels,
  ]);
  const { outputs } = await session.run({ images });
  const ranking = Array.from(outputs.data, (share, i) => [labels[i], share]);
  ranking.sort((a, b) => b[1] - a[1]);
  return [ranking.slice(0, TOP), performance.now() - start];
}

function show(ranking) {
  answers.replaceChildren(...ranking.map(([label, share]) => {
    const item = document.createElement("li");
    const meter = document.createElement("meter");
    meter.value = share;
    meter.ariaLabel = label;
    const name = document.createElement("span");
    name.textContent = label;
    const value = document.createElement("span");
    value.textContent = `${(100 * share).toFixed(2)} %`;
    item.dataset.share = share;
    item.append(name, value, meter);
    return item;
  }));
}

async function take(blob) {
  status.textContent = "Classifying ...";
  answers.replaceChildren();
  try {
    const [ranking, milliseconds] = await classify(blob);
    URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(blob);
    picture.alt = blob.name;
    picture.hidden = false;
    show(ranking);
    status.textContent = `${blob.name}: ${milliseconds.toFixed(0)} ms`;
  } catch (error) {
    picture.hidden = true;
    status.textContent = `${blob.name} could not be classified: ` +
      error.message;
  }
}

let session, settings;
try {
  [session, settings] = await load();
  file.disabled = false;
  status.textContent = "Ready.";
} catch (error) {
  status.textContent = `The network could not be loaded: ${error.message}`;
}

file.addEventListener("change", () => {
  if (file.files.length) take(file.files[0]);
});
for (const event of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(event, (e) => {
    e.preventDefault(); // else the browser opens the file
    drop.classList.toggle("over", event.startsWith("drag") &&
      event !== "dragleave");
    if (event === "drop" && session && e.dataTransfer.files.length) {
      take(e.dataTransfer.files[0]);
    }
  });
}
