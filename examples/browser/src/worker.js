// Runs the model, off the page's thread: samples in, probabilities out.

import * as ort from "onnxruntime-web/wasm";
import { prepare } from "./features.js";

ort.env.wasm.numThreads = 1; // more need headers that few static hosts send
ort.env.wasm.wasmPaths = new URL(".", self.location.href).href;

async function load() {
  const manifest = await (await fetch("manifest.json")).json();
  const session = await ort.InferenceSession.create("model.onnx", { logSeverityLevel: 3 });
  return { manifest, session };
}

const model = load();
model.then(
  ({ manifest }) => postMessage({ labels: manifest.labels, pipeline: manifest.pipeline }),
  (error) => postMessage({ error: `The model cannot be loaded: ${error.message}` }),
);

async function predict(samples) {
  const { manifest, session } = await model;
  const windows = prepare(samples, manifest.pipeline);
  const probabilities = new Array(manifest.labels.length).fill(0);
  for (const { features, nFrames } of windows) {
    const answer = await session.run({
      features: new ort.Tensor("float32", features, [1, nFrames, manifest.columns.length]),
      n_frames: new ort.Tensor("int32", [nFrames], [1]),
    });
    answer.probabilities.data.forEach((p, i) => (probabilities[i] += p / windows.length));
  }
  return probabilities;
}

onmessage = async ({ data: samples }) => {
  try {
    postMessage({ probabilities: await predict(samples) });
  } catch (error) {
    postMessage({ error: error.message });
  }
};
