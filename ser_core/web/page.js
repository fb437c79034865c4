// What the page needs beyond Gradio: microphone states, results in view and up to date, files from
// anywhere, tables that sort, links to share.
(() => {
  const TICK_MS = 250;
  const ASK_AFTER_MS = 400; // a permission that was given before comes sooner
  const AGAIN_MS = 1000;
  const MOST_TRIES = 60;
  const PROBLEMS = { NotFoundError: "none", OverconstrainedError: "none", NotReadableError: "busy", AbortError: "busy" };
  const NOTE = ".mm-microphone";
  const STOP = ".stop-button, .spinner-button"; // a spinner while a live session starts
  const RECORDER = ".mm-recorder:has(.source-selection)"; // one that takes files, too
  const SEGMENTS = /\.(srt|vtt|textgrid|rttm|eaf)$/i; // .txt and .csv may be anything
  const media = navigator.mediaDevices;
  let clock;

  // A language in the address comes before those of the browser, for Gradio's own texts, too.
  const language = new URLSearchParams(location.search).get("lang");
  if (language) {
    const languages = [language, ...navigator.languages];
    Object.defineProperty(navigator, "language", { value: language });
    Object.defineProperty(navigator, "languages", { value: languages });
  }

  addEventListener("click", ({ target }) => {
    const link = target.closest(".mm-languages a");
    if (!link) return;
    const address = new URL(location.href);
    address.searchParams.set("lang", new URL(link.href).searchParams.get("lang"));
    link.href = address.href;
  });

  const find = (selector, within = document) => [...within.querySelectorAll(selector)].find((one) => one.offsetParent);
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

  const minutes = (time_s) => `${Math.floor(time_s / 60)}:${String(Math.floor(time_s) % 60).padStart(2, "0")}`;

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
      const limit_s = Number(note?.dataset.limitS ?? Infinity);
      if (recorded_ms >= limit_s * 1000) find(STOP)?.click();
      const times = [recorded_ms / 1000, limit_s].filter(isFinite).map(minutes);
      show(note, isPaused ? "paused" : "listening", times.join(" / "));
    };
    const end = (state) => {
      clearInterval(clock);
      show(note, state);
    };
    track.addEventListener("ended", () => {
      end("lost");
      find(STOP)?.click();
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

  // Gradio's live recorder throws, and records nothing, until all of its code is loaded.
  let tries = 0;
  addEventListener("unhandledrejection", (event) => {
    const stop = find(STOP);
    if (!/not a constructor/.test(event.reason?.message) || !stop) return;
    event.preventDefault();
    const recorder = stop.closest(".block");
    stop.click();
    const start = () => find(".record-button", recorder)?.click();
    if (tries++ < MOST_TRIES) setTimeout(start, AGAIN_MS); // not where another tab is open by then
  });

  addEventListener(
    "click",
    (event) => {
      if (!media && event.target.closest(".record-button")) show(find(NOTE), "insecure");
      const input = event.target.closest(".mm-recorder .upload-container")?.querySelector("input");
      if (input) input.accept = "audio/*,video/*";
      const stop = event.target.closest(".mm-ends-recording") && find(".stop-button, .stop-button-paused");
      if (!stop) return;
      event.stopImmediatePropagation(); // the end of a recording starts its analysis
      stop.click();
    },
    true,
  );

  /** Bring a result into view and focus its headline, which a screen reader then reads. */
  function reveal(id) {
    requestAnimationFrame(() => {
      const panel = document.getElementById(id);
      const headline = panel.querySelector("h2") ?? panel.querySelector("p");
      const { top, bottom } = headline.getBoundingClientRect();
      headline.tabIndex = -1;
      headline.focus({ preventScroll: true });
      if (top < 0 || bottom > innerHeight / 2) panel.scrollIntoView();
    });
  }

  /** Return what `get` finds, once Gradio has drawn it. */
  async function drawn(get, most = 600) {
    for (let frames = 0; frames < most; frames++) {
      const found = get();
      if (found) return found;
      await new Promise(requestAnimationFrame);
    }
  }

  function fill(input, files) {
    const transfer = new DataTransfer();
    for (const file of files) transfer.items.add(file);
    input.files = transfer.files;
  }

  /** Put files into a field of the open tab, or of the tab that takes them. */
  async function take(files) {
    await drawn(() => !document.getElementById("early"), Infinity); // they may come before Gradio
    const own = files.length < 3 && files.find((file) => SEGMENTS.test(file.name));
    if (own) {
      await takeSegments(own);
      files = files.filter((file) => file !== own);
      if (!files.length) return;
    }
    let [tab, selector] = ["listen", `#batch-files, ${RECORDER}`];
    if (files.length > 1) [tab, selector] = ["batch", "#batch-files"];
    else if (files[0].name.endsWith(".json")) [tab, selector] = ["voice", "#voice-file"];
    if (!find(selector)) document.getElementById(`${tab}-tab-button`).click();
    const field = await drawn(() => find(selector));
    if (field.matches(RECORDER)) {
      field.querySelector(".top-panel button")?.click(); // clears the clip before
      (await drawn(() => field.querySelector(".source-selection button"))).click();
    }
    await put(field, files);
  }

  /** Put a file of segments into its field, and return when it is on the server. */
  async function takeSegments(file) {
    if (!find("#options")) document.getElementById("listen-tab-button").click();
    const options = await drawn(() => find("#options"));
    if (!find("#own-segments")) options.querySelector("button").click();
    const field = await drawn(() => find("#own-segments"));
    if (field.querySelector(".file-preview")) field.querySelector("button").click(); // clears the file before
    await put(field, [file]);
    await drawn(() => field.querySelector(".file-preview"));
  }

  async function put(field, files) {
    const input = await drawn(() => field.querySelector("input[type=file]"));
    fill(input, files);
    input.dispatchEvent(new Event("change"));
  }

  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    const handle = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const isOver = kind !== "drop" && (kind !== "dragleave" || event.relatedTarget !== null);
      document.body.classList.toggle("mm-dropping", isOver);
      if (kind === "drop") take([...event.dataTransfer.files]);
    };
    addEventListener(kind, handle, true);
  }

  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) take(files);
  });

  // Gradio's recorder takes nothing but sound: any other file is for the server to read or refuse.
  addEventListener(
    "change",
    ({ target }) => {
      if (!target.matches(`${RECORDER} input[type=file]`)) return;
      fill(target, [...target.files].map((file) => new File([file], file.name, { type: "audio/*" })));
    },
    true,
  );

  /** Sort a table by a column, the other way round the second time. */
  function sort(head) {
    const [body] = head.closest("table").tBodies;
    const up = head.ariaSort !== "ascending";
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent;
    const compare = (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
    body.append(...[...body.rows].sort((a, b) => (up ? compare(a, b) : compare(b, a))));
    for (const other of head.parentElement.cells) other.ariaSort = null;
    head.ariaSort = up ? "ascending" : "descending";
  }

  addEventListener("click", ({ target }) => {
    const button = target.closest(".mm-batch th button");
    if (button) sort(button.parentElement);
  });

  const chosen = new Map(); // files of the batch by the names that they have here
  const names = new Map(); // and these by the names that they have on the server
  const sound = new Audio();
  let playing;

  addEventListener(
    "change",
    ({ target }) => {
      if (!target.matches("#batch-files input[type=file]")) return;
      for (const file of target.files) chosen.set(file.name, file);
    },
    true,
  );

  function nameFiles(files) {
    for (const { path, orig_name } of files ?? []) names.set(path.split(/[\\/]/).pop(), orig_name);
  }

  function stopSound() {
    sound.pause();
    playing?.classList.remove("mm-playing");
    playing = undefined;
  }
  sound.addEventListener("ended", stopSound);

  addEventListener("click", async ({ target }) => {
    const button = target.closest(".mm-play[data-file]");
    if (!button) return;
    const isPlaying = button === playing;
    stopSound();
    const file = chosen.get(names.get(button.dataset.file));
    if (isPlaying || !file) return;
    URL.revokeObjectURL(sound.src);
    sound.src = URL.createObjectURL(file);
    playing = button;
    button.classList.add("mm-playing");
    await sound.play().catch(() => {
      if (playing !== button) return; // another was clicked meanwhile
      stopSound();
      button.disabled = true; // this browser cannot play the format
    });
  });

  addEventListener("keydown", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (!tab || event.altKey || event.ctrlKey || event.metaKey) return;
    const tabs = [...tab.closest("[role=tablist]").querySelectorAll("[role=tab]")].filter((one) => one.offsetParent);
    const { length } = tabs;
    const i = tabs.indexOf(tab);
    const wanted = { ArrowLeft: i - 1 + length, ArrowRight: i + 1, Home: 0, End: length - 1 }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    tabs[wanted % length].focus();
    tabs[wanted % length].click();
  });

  /** Return the emotion of an example clip; nothing for a clip of the visitor. */
  const example = (clip) => /synthetic-([a-z]+)\.(flac|wav)$/.exec(clip?.orig_name || clip?.path || "")?.[1];

  /** Offer a link unless there is a clip that no link can hold, and say so. */
  function offerLink(clip) {
    const isPossible = !clip || Boolean(example(clip));
    const text = isPossible ? "" : document.getElementById("share-texts").dataset.refused;
    return [{ __type__: "update", interactive: isPossible }, paragraph(text).outerHTML];
  }

  function paragraph(text) {
    const paragraph = document.createElement("p");
    paragraph.className = "mm-small";
    paragraph.textContent = text;
    return paragraph;
  }

  /** Copy a link to an example and to the options, and return it as HTML. */
  async function share(clip, model, denoise) {
    const link = new URL(location.origin + location.pathname);
    if (example(clip)) link.searchParams.set("example", example(clip));
    if (model !== "auto") link.searchParams.set("model", model);
    if (denoise) link.searchParams.set("denoise", "1");
    const isCopied = await navigator.clipboard?.writeText(link.href).then(() => true, () => false);
    const text = paragraph(isCopied ? `${document.getElementById("share-texts").dataset.copied} ` : "");
    const anchor = document.createElement("a");
    anchor.href = anchor.textContent = link.href;
    text.append(anchor);
    return text.outerHTML;
  }

  /** Show that a result was made with other options than those chosen now. */
  function mark(...options) {
    const note = document.querySelector("#result .mm-outdated");
    const chosen = options.map((option) => option?.path ?? option);
    if (note) note.hidden = note.dataset.options === JSON.stringify(chosen);
  }

  // A link with more than 2 MB is none to Chromium: its content becomes a file of the page.
  addEventListener(
    "click",
    ({ target }) => {
      const link = target.closest("a[download]");
      const [, kind, content] = /^data:(.+);base64,(.*)$/.exec(link?.href ?? "") ?? [];
      if (!content) return;
      const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
      link.href = URL.createObjectURL(new Blob([bytes], { type: kind }));
    },
    true,
  );

  addEventListener("click", ({ target }) => {
    if (target.closest(".mm-outdated button")) document.getElementById("analyse").click();
    const stop = target.closest(".mm-stop");
    if (!stop) return;
    stop.disabled = true;
    document.getElementById("stop-analysis").click();
  });

  // A result that grows comes into view when it starts to.
  addEventListener("DOMContentLoaded", () => {
    let isGrowing = false;
    new MutationObserver(() => {
      const wasGrowing = isGrowing;
      isGrowing = Boolean(find("#result [aria-busy=true]"));
      if (isGrowing && !wasGrowing) reveal("result");
    }).observe(document.body, { childList: true, subtree: true });
  });

  window.moodmirror = { drawn, mark, nameFiles, offerLink, reveal, share, take };
})();
