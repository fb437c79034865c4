// From samples to the input of a model, with the settings of its manifest.
//
// The steps and their numbers are those of ser_core.preprocess and ser_core.features; a test holds
// the two together. Speech detection and noise reduction are left out.

const LOUD_S = 0.25;
const [LEVEL_FRAME_S, LEVEL_HOP_S] = [0.025, 0.01];
const CREST_DB = 15;
const TOP_DB = 80;
const [HZ_PER_MEL, FIRST_LOG_HZ, LOG_STEP] = [200 / 3, 1000, Math.log(6.4) / 27];

// Returns windows of { features: Float32Array of nFrames × columns, nFrames }.
export function prepare(samples, pipeline) {
  const { audio, features, windows } = pipeline;
  const speech = preprocess(samples, pipeline);
  const frames = extractFeatures(speech, pipeline); // one Float32Array a frame
  const framesPerS = audio.sample_rate_hz / features.hop_length;
  const length = Math.round(windows.window_s * framesPerS);
  const step = Math.round(windows.hop_s * framesPerS);
  const last = Math.max(frames.length - length, 0);
  const starts = [];
  for (let start = 0; start < last; start += step) starts.push(start);
  return [...starts, last].map((start) => join(frames.slice(start, start + length)));
}

function join(frames) {
  const features = new Float32Array(frames.length * frames[0].length);
  frames.forEach((frame, i) => features.set(frame, i * frame.length));
  return { features, nFrames: frames.length };
}

export function preprocess(samples, { audio, preprocess: settings }) {
  if (settings.noise_reduction || !["speech", "peak", "none"].includes(settings.level)) {
    throw new Error("This model reduces noise or sets levels in a way that browsers cannot.");
  }
  const rateHz = audio.sample_rate_hz;
  const mean = settings.remove_dc ? samples.reduce((sum, s) => sum + s, 0) / samples.length : 0;
  const waveform = Float32Array.from(samples, (s) => s - mean);
  const level = loudest(waveform, settings, rateHz);
  if (!(decibels(level) >= settings.silence_dbfs)) throw new Error("We hear only silence.");
  if (settings.level !== "none") {
    const target = 10 ** (-settings.headroom_db / 20);
    const most = settings.level === "speech" ? target : Infinity;
    waveform.forEach((s, i) => {
      waveform[i] = Math.min(Math.max((s * target) / level, -most), most);
    });
  }
  const [start, end] = findEnds(waveform, settings, rateHz);
  if (end - start < settings.min_speech_s * rateHz) throw new Error("We hear too little speech.");
  return waveform.subarray(start, end);
}

const decibels = (amplitude) => 20 * Math.log10(amplitude);

function loudest(waveform, settings, rateHz) {
  const peak = waveform.reduce((most, s) => Math.max(most, Math.abs(s)), 0);
  const [length, hop] = [LEVEL_FRAME_S, LEVEL_HOP_S].map((s) => Math.round(s * rateHz));
  if (settings.level !== "speech" || waveform.length < length) return peak;
  const levels = rms(waveform, length, hop).sort();
  const nLouder = Math.min(Math.round(LOUD_S / LEVEL_HOP_S), levels.length - 1);
  const level = levels[levels.length - 1 - nLouder] * 10 ** (CREST_DB / 20);
  return decibels(level) >= settings.silence_dbfs ? level : peak;
}

function findEnds(waveform, settings, rateHz) {
  if (!settings.trim) return [0, waveform.length];
  const [length, hop] = [settings.trim_frame_length, settings.trim_hop_length];
  const levels = rms(pad(waveform, length >> 1), length, hop);
  let loud;
  if (settings.level === "speech") {
    const least = 10 ** ((-settings.headroom_db - CREST_DB - settings.trim_top_db) / 20);
    loud = levels.map((level) => level > least);
    const long = keepRuns(loud, 1 + Math.floor((LOUD_S * rateHz + length) / hop));
    if (long.some(Boolean)) loud = long;
  } else {
    const least = levels.reduce((a, b) => Math.max(a, b)) * 10 ** (-settings.trim_top_db / 20);
    loud = levels.map((level) => level > least);
  }
  const [first, last] = [loud.indexOf(1), loud.lastIndexOf(1)];
  return first < 0 ? [0, 0] : [first * hop, Math.min((last + 1) * hop, waveform.length)];
}

// Sets runs of ones that are shorter than `least` to zero.
function keepRuns(flags, least) {
  const kept = flags.slice();
  for (let start = 0; start < flags.length; ) {
    let end = start;
    while (end < flags.length && flags[end] === flags[start]) end++;
    if (flags[start] && end - start < least) kept.fill(0, start, end);
    start = end;
  }
  return kept;
}

function rms(samples, length, hop) {
  const levels = new Float32Array(1 + Math.floor((samples.length - length) / hop));
  return levels.map((_, i) => {
    let sum = 0;
    for (let j = i * hop; j < i * hop + length; j++) sum += samples[j] ** 2;
    return Math.sqrt(sum / length);
  });
}

function pad(samples, n, { mirrored = false } = {}) {
  const padded = new Float32Array(samples.length + 2 * n);
  padded.set(samples, n);
  for (let i = 0; mirrored && i < n; i++) {
    padded[n - 1 - i] = samples[i + 1];
    padded[n + samples.length + i] = samples[samples.length - 2 - i];
  }
  return padded;
}

export function extractFeatures(speech, { audio, features: settings }) {
  const [group, ...others] = settings.groups;
  const isWhisper = group === "whisper_log_mel";
  if (others.length || !(isWhisper || group === "log_mel")) {
    throw new Error(`This page computes log-mel, not ${settings.groups.join(", ")}.`);
  }
  const rateHz = audio.sample_rate_hz;
  const [length, hop] = [settings.frame_length, settings.hop_length];
  const samples = pad(speech, Math.round(settings.margin_s * rateHz));
  const [nMels, low, high] = isWhisper
    ? [80, 0, rateHz / 2]
    : [settings.n_mels, settings.fmin_hz, settings.fmax_hz];
  const bank = melFilters(rateHz, length, nMels, low, high);
  const padded = pad(samples, length >> 1, { mirrored: isWhisper });
  const nFrames = Math.floor(samples.length / hop) + (isWhisper ? 0 : 1);
  const frames = Array.from({ length: nFrames }, (_, i) =>
    applyFilters(bank, powerSpectrum(padded.subarray(i * hop, i * hop + length))),
  );
  return isWhisper ? scaleAsWhisper(frames) : toDecibels(frames);
}

function toDecibels(frames) {
  for (const frame of frames) frame.forEach((p, i) => (frame[i] = 10 * Math.log10(Math.max(1e-10, p))));
  return limitRange(frames, TOP_DB);
}

function scaleAsWhisper(frames) {
  for (const frame of frames) frame.forEach((p, i) => (frame[i] = Math.log10(Math.max(1e-10, p))));
  return limitRange(frames, 8).map((frame) => frame.map((level) => (level + 4) / 4));
}

function limitRange(frames, range) {
  const most = frames.reduce((a, frame) => frame.reduce((b, level) => Math.max(b, level), a), -Infinity);
  return frames.map((frame) => frame.map((level) => Math.max(level, most - range)));
}

// Each filter is { first, weights }, its part that is not zero. Slaney's mel scale and areas.
function melFilters(rateHz, frameLength, nMels, lowHz, highHz) {
  const firstLog = FIRST_LOG_HZ / HZ_PER_MEL;
  const toMel = (hz) =>
    hz < FIRST_LOG_HZ ? hz / HZ_PER_MEL : firstLog + Math.log(hz / FIRST_LOG_HZ) / LOG_STEP;
  const toHz = (mel) =>
    mel < firstLog ? mel * HZ_PER_MEL : FIRST_LOG_HZ * Math.exp(LOG_STEP * (mel - firstLog));
  const [low, high] = [toMel(lowHz), toMel(highHz)];
  const edges = Array.from({ length: nMels + 2 }, (_, i) => toHz(low + ((high - low) * i) / (nMels + 1)));
  return edges.slice(0, nMels).map((start, i) => {
    const [middle, end] = [edges[i + 1], edges[i + 2]];
    const first = Math.ceil((start * frameLength) / rateHz);
    const last = Math.min(Math.floor((end * frameLength) / rateHz), frameLength >> 1);
    const weights = Array.from({ length: Math.max(0, last - first + 1) }, (_, j) => {
      const hz = ((first + j) * rateHz) / frameLength;
      const slope = Math.min((hz - start) / (middle - start), (end - hz) / (end - middle));
      return (Math.max(0, slope) * 2) / (end - start);
    });
    return { first, weights };
  });
}

function applyFilters(bank, power) {
  return Float64Array.from(bank, ({ first, weights }) =>
    weights.reduce((sum, weight, j) => sum + weight * power[first + j], 0),
  );
}

const tables = new Map(); // by frame length: the Hann window, and the unit circle

function tablesOf(length) {
  if (!tables.has(length)) {
    const angles = Array.from({ length }, (_, i) => (2 * Math.PI * i) / length);
    const [cos, sin] = [angles.map(Math.cos), angles.map(Math.sin)].map((v) => Float64Array.from(v));
    tables.set(length, { cos, sin, window: cos.map((c) => 0.5 - 0.5 * c) });
  }
  return tables.get(length);
}

function powerSpectrum(frame) {
  const { window } = tablesOf(frame.length);
  const re = Float64Array.from(frame, (s, i) => s * window[i]);
  const [outRe, outIm] = fourier(re, frame.length, 0, 1);
  return outRe.subarray(0, 1 + (frame.length >> 1)).map((r, k) => r * r + outIm[k] ** 2);
}

// Fourier transform of every `step`th of some real numbers, from `start`: Cooley and Tukey's, for
// lengths that are products of small primes.
function fourier(values, length, start, step) {
  const [re, im] = [new Float64Array(length), new Float64Array(length)];
  if (length === 1) {
    re[0] = values[start];
    return [re, im];
  }
  let factor = 2;
  while (length % factor) factor++;
  const { cos, sin } = tablesOf(length);
  const part = length / factor;
  for (let r = 0; r < factor; r++) {
    const [partRe, partIm] = fourier(values, part, start + r * step, step * factor);
    for (let k = 0; k < length; k++) {
      const [a, b, turn] = [partRe[k % part], partIm[k % part], (r * k) % length];
      re[k] += a * cos[turn] + b * sin[turn];
      im[k] += b * cos[turn] - a * sin[turn];
    }
  }
  return [re, im];
}
