// What the page needs beyond Gradio: the state of the microphone, and results in view.
(() => {
  const TICK_MS = 250;
  const ASK_AFTER_MS = 400; // a permission that was given before comes sooner
  const PROBLEMS = { NotFoundError: "none", OverconstrainedError: "none", NotReadableError: "busy", AbortError: "busy" };
  const NOTE = ".mm-microphone";
  const media = navigator.mediaDevices;
  let clock;

  const find = (selector) => [...document.querySelectorAll(selector)].find((one) => one.offsetParent);
  const browser = () => {
    const name = navigator.userAgent;
    if (/iPhone|iPad/.test(name)) return "ios";
    return name.includes("Firefox/") ? "firefox" : name.includes("Chrome/") ? "chromium" : "safari";
  };

  /** Show a state of the microphone in a note, which holds a sentence for each. */
  function show(note, state, time = "") {
    if (!note) return;
    const [sentence, watch] = note.children;
    const text = note.getAttribute(`data-${state}`) ?? "";
    if (sentence.textContent !== text) sentence.textContent = text; // so it is announced once
    watch.textContent = time;
    note.classList.toggle("mm-problem", !["", "asking", "listening", "paused"].includes(state));
  }

  /** Count the time of a recording until its track ends, or is taken away. */
  function follow(note, track) {
    let recorded_ms = 0;
    let last = performance.now();
    const tick = () => {
      if (track.readyState === "ended") return end("");
      const now = performance.now();
      const isPaused = Boolean(find(".resume-button"));
      if (!isPaused) recorded_ms += now - last;
      last = now;
      const seconds = Math.floor(recorded_ms / 1000);
      show(note, isPaused ? "paused" : "listening", `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`);
    };
    const end = (state) => {
      clearInterval(clock);
      show(note, state);
    };
    track.addEventListener("ended", () => {
      end("lost");
      find(".stop-button")?.click();
    });
    clearInterval(clock);
    clock = setInterval(tick, TICK_MS);
    tick();
  }

  if (media) {
    const open = media.getUserMedia.bind(media);
    media.getUserMedia = async (wanted) => {
      const note = find(NOTE);
      const asking = setTimeout(show, ASK_AFTER_MS, note, "asking");
      try {
        const stream = await open(wanted);
        follow(note, stream.getAudioTracks()[0]);
        return stream;
      } catch (error) {
        show(note, PROBLEMS[error.name] ?? `denied-${browser()}`);
        return null; // Gradio goes back to its start; an error would cover the live recorder
      } finally {
        clearTimeout(asking);
      }
    };
  }

  addEventListener(
    "click",
    (event) => {
      if (!media && event.target.closest(".record-button")) show(find(NOTE), "insecure");
      const stop = event.target.closest(".mm-ends-recording") && find(".stop-button, .stop-button-paused");
      if (!stop) return;
      event.stopImmediatePropagation(); // the end of a recording starts its analysis
      stop.click();
    },
    true,
  );
})();
