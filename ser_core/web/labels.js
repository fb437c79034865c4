// Labels of the batch: a key for each emotion while a recording plays, and the labels as files. It is
// run with `element`, which holds the texts and the links.
const labels = new Map(); // label and speaker by the name of the recording
const table = () => document.querySelector("#batch-table table");
const tools = () => element.querySelector(".mm-labels");
let isOn = false;
let drawn; // the table that is sorted and has its labels

const rows = () => [...(table()?.tBodies[0].rows ?? [])].filter((row) => row.querySelector(".mm-choice"));
const choice = (row) => row.querySelector(".mm-choice select");
const cell = (row) => row.querySelector(".mm-choice").dataset;
const entry = (row) => {
  const { name, speaker } = cell(row);
  if (!labels.has(name)) labels.set(name, { label: "", speaker });
  return labels.get(name);
};

/** Give a row a label, by which the table can be sorted, too. */
function put(row, label) {
  entry(row).label = choice(row).value = cell(row).value = label;
}

/** Show the labels in a table that was drawn again. */
function restore() {
  if (!table()) labels.clear();
  else if (table() !== drawn && isOn) sort();
  drawn = table();
  for (const row of rows()) {
    put(row, entry(row).label);
    row.querySelector(".mm-speaker input").value = entry(row).speaker;
  }
  update();
}

/** Show how many labels there are, how many the model agrees with, and the files. */
function update() {
  if (tools()) tools().hidden = !rows().length;
  table()?.classList.toggle("mm-labelling", isOn);
  if (!rows().length) return;
  const labelled = rows().filter((row) => entry(row).label);
  const agree = labelled.filter((row) => entry(row).label === cell(row).predicted).length;
  const values = {
    keys: [...choice(rows()[0]).options].slice(1).map((option) => option.text).join(", "),
    n: labelled.length,
    all: rows().length,
    agree,
    percent: labelled.length ? Math.round((100 * agree) / labelled.length) : 0,
  };
  const text = tools().dataset[labelled.length ? "agreement" : "hint"];
  const status = tools().querySelector("[role=status]");
  status.textContent = text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  tools().querySelector(".mm-label-files").hidden = !labelled.length;
  const [csv, json] = tools().querySelectorAll("a");
  csv.href = link("text/csv", toCsv(labelled));
  json.href = link("application/json", JSON.stringify(rows().map(toTask), null, 1));
}

const link = (kind, text) => `data:${kind};charset=utf-8,${encodeURIComponent(text)}`;

function toCsv(labelled) {
  const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const plain = (text) => (/^[=+\-@\t\r]/.test(text) ? `'${text}` : text); // no formula of a spreadsheet
  const lines = labelled.map((row) => {
    const { name, predicted, confidence } = cell(row);
    const { label, speaker } = entry(row);
    const path = plain(name) === name ? name : `./${name}`;
    return [path, label, plain(speaker), predicted, confidence].map(quote).join(",");
  });
  return ["path,label,speaker,predicted,confidence", ...lines, ""].join("\n");
}

/** Return the task of Label Studio for a row, with the label as an annotation. */
function toTask(row) {
  const task = JSON.parse(cell(row).task);
  const { label, speaker } = entry(row);
  if (speaker) task.data.speaker = speaker;
  const [result] = task.predictions[0].result;
  if (label) task.annotations = [{ result: [{ ...result, value: { choices: [label] } }] }];
  return task;
}

/** Put the rows with the least confidence first. */
function sort() {
  const confidence = (row) => Number(row.querySelector(".mm-choice")?.dataset.confidence ?? 2);
  const [body] = table().tBodies;
  body.append(...[...body.rows].sort((a, b) => confidence(a) - confidence(b)));
}

/** Focus a row and play its recording. */
function visit(row) {
  if (!row) return;
  choice(row).focus();
  row.scrollIntoView({ block: "center" });
  row.querySelector(".mm-play:not(.mm-playing)")?.click();
}

function next(row) {
  const all = rows();
  const following = [...all.slice(all.indexOf(row) + 1), ...all];
  visit(following.find((other) => !entry(other).label));
}

element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button || !table()) return;
  isOn = !isOn;
  button.ariaPressed = isOn;
  update();
  if (!isOn) return;
  sort();
  visit(rows().find((row) => !entry(row).label) ?? rows()[0]);
});

document.addEventListener("change", ({ target }) => {
  const row = target.closest(".mm-labelling tr");
  if (!row) return;
  if (target === choice(row)) put(row, target.value);
  else if (target.matches(".mm-speaker input")) entry(row).speaker = target.value.trim();
  update();
});

document.addEventListener("keydown", (event) => {
  const row = event.target.closest(".mm-labelling tr");
  if (!row || event.target.matches("input") || event.altKey || event.ctrlKey || event.metaKey) return;
  const option = /^\d$/.test(event.key) && choice(row).options[event.key];
  if (event.key === "Enter" && event.target === choice(row)) visit(row);
  if (!option) return;
  event.preventDefault();
  put(row, option.value);
  update();
  if (option.value) next(row);
});

(function observe() {
  const place = document.getElementById("batch-table");
  if (place) new MutationObserver(restore).observe(place, { childList: true, subtree: true });
  else requestAnimationFrame(observe); // Gradio has not drawn it yet
})();
