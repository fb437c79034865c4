// Passes the samples of the microphone to the page, a tenth of a second at once.

class Recorder extends AudioWorkletProcessor {
  chunk = new Float32Array(Math.round(sampleRate / 10));
  n = 0;

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.chunk[this.n++] = sample;
      if (this.n === this.chunk.length) {
        this.port.postMessage(this.chunk);
        this.n = 0;
      }
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
