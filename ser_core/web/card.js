// Draws a result as a picture to share: the sentence and the bars, and nothing of the recording.
(() => {
  const [WIDTH, HEIGHT, MARGIN] = [1200, 630, 64];
  const [PAPER, TRACK, INK, FAINT] = ["#f6f4ef", "#e2ddd3", "#282b2d", "#6c6a66"];
  const FONT = getComputedStyle(document.documentElement).fontFamily;

  /** Write a text from a place on, in lines that fit; return the height below the last one. */
  function write(context, text, x, y, { size, weight = 400, colour = INK, width = WIDTH - 2 * MARGIN }) {
    context.font = `${weight} ${size}px ${FONT}`;
    context.fillStyle = colour;
    const lines = [""];
    for (const word of text.trim().split(/(?<=\s)|(?<=[，。、：；])/)) {
      const line = lines.at(-1) + word;
      if (lines.at(-1) && context.measureText(line.trimEnd()).width > width) lines.push(word);
      else lines[lines.length - 1] = line;
    }
    lines.forEach((line, i) => context.fillText(line.trimEnd(), x, y + (i + 1) * 1.25 * size));
    return y + lines.length * 1.25 * size;
  }

  function bar(context, row, x, y, width) {
    const [track, fill] = [row.querySelector(".mm-track"), row.querySelector(".mm-track span")];
    const weight = row.matches(".mm-top") ? 700 : 400;
    write(context, row.querySelector(".mm-sign").textContent, x, y - 18, { size: 24 });
    write(context, row.querySelector(".mm-label").textContent, x + 42, y - 17, { size: 22, weight });
    write(context, row.querySelector(".mm-percent").textContent, x + width - 70, y - 17, { size: 22, weight });
    const [left, length] = [x + 190, width - 280];
    const share = Number(track.ariaValueNow) / 100;
    for (const [colour, part] of [[TRACK, 1], [fill.style.background, share]]) {
      context.fillStyle = colour;
      context.fillRect(left, y - 5, length * part, 14);
    }
  }

  /** Return the picture of a result. */
  async function draw(answer) {
    const canvas = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
    const context = canvas.getContext("2d");
    context.fillStyle = PAPER;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    const logo = new Image(56, 56);
    logo.src = `data:image/svg+xml,${encodeURIComponent(document.querySelector(".mm-logo").innerHTML)}`;
    await logo.decode();
    context.drawImage(logo, MARGIN, 40, 56, 56);
    write(context, document.querySelector(".mm-header h1").textContent, MARGIN + 72, 45, { size: 34, weight: 700 });
    let y = 110;
    for (const eyebrow of answer.querySelectorAll(".mm-eyebrow")) {
      y = write(context, eyebrow.textContent, MARGIN, y, { size: 22, colour: FAINT });
    }
    const sentence = [...answer.querySelectorAll(".mm-sentence span")].map((one) => one.textContent).join(" ");
    y = write(context, sentence, MARGIN, y, { size: 38, weight: 700 }) + 36;
    const rows = [...answer.querySelectorAll(".mm-bars li")];
    const step = Math.min(48, (HEIGHT - 90 - y) / Math.ceil(rows.length / 2));
    rows.forEach((row, i) => {
      const column = Math.floor(i / Math.ceil(rows.length / 2));
      const width = (WIDTH - 2 * MARGIN - 40) / 2;
      bar(context, row, MARGIN + column * (width + 40), y + step * (i % Math.ceil(rows.length / 2)) + step / 2, width);
    });
    const footer = document.querySelector(".mm-footer").textContent;
    write(context, footer, MARGIN, HEIGHT - 84, { size: 18, colour: FAINT });
    return canvas;
  }

  addEventListener("click", async ({ target }) => {
    const button = target.closest(".mm-save-card");
    if (!button) return;
    const canvas = await draw(button.closest(".mm-answer"));
    const picture = await new Promise((done) => canvas.toBlob(done, "image/png"));
    const link = Object.assign(document.createElement("a"), { download: "moodmirror.png" });
    link.href = URL.createObjectURL(picture);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
})();
