// Plays stretches of the clip with Gradio's own player: one sound, and one playhead over waveform,
// moments, timeline and list. A stretch is an element of the class mm-plays with its times in seconds.
(() => {
  const STEPS = 50; // of the arrow keys, over the whole clip
  const ROWS_EVERY_S = 0.1; // time between two looks at the list
  const result = () => document.getElementById("result");
  const media = () => document.querySelector("#clip #waveform > div")?.shadowRoot?.querySelector("audio");
  const time = (element, name) => parseFloat(element.style.getPropertyValue(name));
  const rows = () => [...result().querySelectorAll(".mm-segments .mm-plays")];
  const duration_s = () => time(result().querySelector("[style*='--duration']"), "--duration");
  let followed; // the player whose time the playhead shows
  let playing; // the stretch that plays
  let until_s = Infinity;
  let marked; // step of time of the list
  let current; // first row that the player is in

  /** Mark the rows of the list that the player is in, and keep the first of them in view. */
  function markRows(at_s) {
    for (const one of rows()) {
      const isCurrent = time(one, "--from") <= at_s && at_s < time(one, "--to");
      one.closest("tr").classList.toggle("mm-current", isCurrent);
    }
    const first = result().querySelector(".mm-current");
    const list = first?.closest(".mm-scroll");
    if (!list || first === current) return;
    current = first;
    const top = first.offsetTop - list.scrollTop;
    if (top < 0 || top + first.offsetHeight > list.clientHeight) list.scrollTop = first.offsetTop - first.offsetHeight;
  }

  /** Move the playhead to the time of the player; end a stretch where it ends. */
  function move() {
    const at_s = followed.currentTime;
    if (at_s >= until_s) followed.pause();
    result().style.setProperty("--at", at_s);
    result().classList.toggle("mm-played", at_s > 0);
    const step = Math.floor(at_s / ROWS_EVERY_S);
    if (step !== marked) markRows(at_s);
    marked = step;
    for (const seek of result().querySelectorAll(".mm-seek")) {
      seek.ariaValueNow = at_s.toFixed(1);
      seek.ariaValueText = `${Math.floor(at_s / 60)}:${(at_s % 60).toFixed(1).padStart(4, "0")}`;
    }
    if (!followed.paused) requestAnimationFrame(move);
  }

  function ended() {
    until_s = Infinity;
    playing?.classList.remove("mm-playing");
    playing = undefined;
  }

  /** Return the player, whose time the playhead follows from now on; nothing without a sound. */
  function follow() {
    const found = media();
    if (!found || found === followed) return found;
    followed = found;
    for (const kind of ["play", "seeked", "timeupdate"]) found.addEventListener(kind, move);
    for (const kind of ["pause", "ended", "emptied"]) found.addEventListener(kind, ended);
    return found;
  }

  async function play(from_s, to_s, element) {
    const sound = follow();
    ended();
    if (!sound) return;
    sound.currentTime = Math.min(from_s, sound.duration || Infinity);
    until_s = to_s;
    playing = element;
    element?.classList.add("mm-playing");
    await sound.play().catch(() => ended()); // this browser cannot play the format
  }

  addEventListener("click", (event) => {
    const { target, clientX } = event;
    if (target.closest("#clip")) follow();
    const seek = target.closest("#result .mm-seek");
    if (seek) {
      const { left, width } = seek.getBoundingClientRect();
      play(((clientX - left) / width) * duration_s(), Infinity);
    }
    const stretch = target.closest("#result .mm-plays");
    if (!stretch) return;
    if (stretch === playing) followed.pause();
    else play(time(stretch, "--from"), time(stretch, "--to"), stretch);
  });

  // The list is one stop of the Tab key: the arrow keys move in it.
  addEventListener("keydown", (event) => {
    const all = event.target.closest(".mm-segments .mm-plays") ? rows() : [];
    const i = all.indexOf(event.target);
    const wanted = all[{ ArrowUp: i - 1, ArrowDown: i + 1, Home: 0, End: all.length - 1 }[event.key]];
    if (!wanted || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    wanted.tabIndex = 0;
    wanted.focus();
  });

  addEventListener("keydown", (event) => {
    const sound = event.target.closest(".mm-seek") && follow();
    if (!sound || event.altKey || event.ctrlKey || event.metaKey) return;
    const [at_s, all_s] = [sound.currentTime, duration_s()];
    const wanted_s = {
      ArrowLeft: at_s - all_s / STEPS,
      ArrowRight: at_s + all_s / STEPS,
      Home: 0,
      End: all_s,
    }[event.key];
    if (wanted_s !== undefined) sound.currentTime = Math.max(0, Math.min(wanted_s, all_s));
    else if (event.key !== " " && event.key !== "Enter") return;
    else if (sound.paused) play(at_s, Infinity);
    else sound.pause();
    event.preventDefault();
  });
})();
