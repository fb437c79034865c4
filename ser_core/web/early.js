// Records before Gradio is there, and hands the recording over once it is.
(() => {
  const early = () => document.getElementById("early");
  let recorder;
  let work; // what is left to do before the page may show

  /** Return a recording as a WAV file, in which every player finds its way. */
  async function toWav(blob) {
    const context = new AudioContext();
    const sound = await context.decodeAudioData(await blob.arrayBuffer());
    context.close();
    const samples = Int16Array.from(sound.getChannelData(0), (one) => 32767 * Math.max(-1, Math.min(1, one)));
    const [rate, n] = [sound.sampleRate, samples.byteLength];
    const head = new DataView(new ArrayBuffer(44));
    const fields = ["RIFF", 36 + n, "WAVE", "fmt ", 16, [1, 1], rate, 2 * rate, [2, 16], "data", n];
    fields.forEach((field, i) => {
      if (Array.isArray(field)) field.forEach((value, j) => head.setUint16(4 * i + 2 * j, value, true));
      else if (typeof field === "number") head.setUint32(4 * i, field, true);
      else [...field].forEach((letter, j) => head.setUint8(4 * i + j, letter.charCodeAt(0)));
    });
    return new File([head, samples], "recording.wav", { type: "audio/wav" });
  }

  async function record(button) {
    const stream = await navigator.mediaDevices?.getUserMedia({ audio: true });
    if (!stream) return; // page.js says why
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    const stopped = new Promise((done) => recorder.addEventListener("stop", done));
    recorder.start();
    button.textContent = button.dataset.stop;
    await stopped;
    button.disabled = true;
    for (const track of stream.getTracks()) track.stop();
    return toWav(new Blob(parts, { type: recorder.mimeType }));
  }

  addEventListener("click", ({ target }) => {
    const button = target.closest("#early button");
    if (!button) return;
    if (recorder?.state === "recording") recorder.stop();
    else work = record(button);
  });

  addEventListener("DOMContentLoaded", async () => {
    const usable = await moodmirror.drawn(() => document.querySelector("#clip .record-button")?.checkVisibility({ visibilityProperty: true }), Infinity);
    if (!early() || !usable) return;
    let file;
    for (let done; done !== work; file = await done) done = work; // it may start while this waits
    const hadFocus = early().contains(document.activeElement);
    early().remove();
    if (file) moodmirror.take([file]);
    else if (hadFocus) document.querySelector("#clip .record-button").focus();
  });
})();
