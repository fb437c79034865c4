// The page: a microphone or a file in, bars out. The sound stays in this tab.

const STEP_MS = 500;

const byId = (id) => document.getElementById(id);
const [microphone, file, status, bars] = ["microphone", "file", "status", "bars"].map(byId);
const worker = new Worker("worker.js", { type: "module" });
const context = new AudioContext(); // silent until the microphone is started
await context.audioWorklet.addModule("recorder.js"); // now, as there may be no network later

let pipeline; // settings of the model
let stop = null; // ends the recording; null where there is none
let waiting = null; // settles the answer that the worker computes

worker.onmessage = ({ data }) => {
  if (data.labels) {
    ready(data);
  } else if (waiting) {
    data.error ? waiting.reject(new Error(data.error)) : waiting.resolve(data.probabilities);
    waiting = null;
  } else {
    status.textContent = data.error;
  }
};

function ready(model) {
  pipeline = model.pipeline;
  bars.replaceChildren(...model.labels.flatMap(row));
  microphone.disabled = file.disabled = false;
  status.textContent = "Ready";
}

function row(label) {
  const [name, bar, share] = ["dt", "dd", "dd"].map((tag) => document.createElement(tag));
  const progress = document.createElement("progress");
  name.textContent = label;
  progress.value = 0;
  progress.setAttribute("aria-label", label);
  share.className = "share";
  share.textContent = "–";
  bar.append(progress);
  return [name, bar, share];
}

// Resolves to the probabilities of mono samples at the model's rate.
function predict(samples) {
  return new Promise((resolve, reject) => {
    waiting = { resolve, reject };
    worker.postMessage(samples, [samples.buffer]);
  });
}

async function show(samples) {
  let message;
  try {
    const probabilities = await predict(samples);
    const likeliest = probabilities.indexOf(Math.max(...probabilities));
    bars.querySelectorAll("progress").forEach((bar, i) => (bar.value = probabilities[i]));
    bars.querySelectorAll(".share").forEach((share, i) => {
      share.textContent = `${Math.round(100 * probabilities[i])}%`;
    });
    message = bars.querySelectorAll("dt")[likeliest].textContent;
    message = `${message[0].toUpperCase()}${message.slice(1)}`;
  } catch (error) {
    message = error.message;
  }
  status.textContent = message;
}

// Returns an audio buffer as mono samples at the model's rate.
async function toModelRate(buffer) {
  const rateHz = pipeline.audio.sample_rate_hz;
  const context = new OfflineAudioContext(1, Math.ceil(buffer.duration * rateHz), rateHz);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return (await context.startRendering()).getChannelData(0);
}

file.onchange = async () => {
  const [chosen] = file.files;
  if (!chosen) return;
  stop?.();
  try {
    const context = new OfflineAudioContext(1, 1, pipeline.audio.sample_rate_hz);
    const buffer = await context.decodeAudioData(await chosen.arrayBuffer());
    await show(await toModelRate(buffer));
  } catch {
    status.textContent = "We couldn't read this file.";
  }
};

microphone.onclick = async () => {
  if (stop) return stop();
  try {
    await record();
  } catch (error) {
    status.textContent = `The microphone cannot be used: ${error.message}`;
  }
};

async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  await context.resume();
  const node = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const source = context.createMediaStreamSource(stream);
  source.connect(node);
  const nMost = Math.round(pipeline.windows.window_s * context.sampleRate);
  const chunks = []; // the newest samples, at least `nMost` of them once there are so many
  let nSamples = 0;
  node.port.onmessage = ({ data }) => {
    nSamples += data.length;
    chunks.push(data);
    while (nSamples - chunks[0].length >= nMost) nSamples -= chunks.shift().length;
  };
  const timer = setInterval(async () => {
    if (waiting || nSamples < pipeline.audio.min_duration_s * context.sampleRate) return;
    const buffer = new AudioBuffer({ length: nSamples, sampleRate: context.sampleRate });
    let start = 0;
    for (const chunk of chunks) {
      buffer.copyToChannel(chunk, 0, start);
      start += chunk.length;
    }
    await show(await toModelRate(buffer));
  }, STEP_MS);
  stop = () => {
    clearInterval(timer);
    stream.getTracks().forEach((track) => track.stop());
    source.disconnect();
    context.suspend();
    stop = null;
    microphone.textContent = "Start the microphone";
  };
  microphone.textContent = "Stop the microphone";
}
