// The page of the audit. A row of data.rows: {id, part, at, about, source, family, kind, claim, value, weight, stratum,
// problem_id}; an item: the problem, and steps, answer, reason or detail. Marks are kept by the browser as they are made.

const ASKS = {
  step: "Is the last step right, given those before it?",
  verdict: "Is this answer right, that is, equal to the problem's?",
  refusal: "Was it right to refuse this problem?",
};
const CHOICES = [["right", "r"], ["wrong", "w"], ["unclear", "u"]];
const KEY = "mmprm-audit-" + data.sample;

let state = { rater: "", marks: {} }; // item -> {mark, note}
let kept = true; // whether the browser keeps the marks
try {
  state = { ...state, ...JSON.parse(localStorage.getItem(KEY) || "{}") };
  localStorage.setItem(KEY, JSON.stringify(state));
} catch {
  kept = false; // storage is switched off, or full
}

const progress = el("p", { class: "count", role: "status" });
const rater = el("input", { id: "rater", value: state.rater, autocomplete: "off", on: { input: () => { state.rater = rater.value; keep(); } } });
const file = el("input", { id: "marks", type: "file", accept: ".csv,text/csv", on: { change: read } });
page.append(el("div", { class: "bar-of-tools" },
  el("div", { class: "field" }, el("label", { for: "rater" }, "Your name"), rater),
  el("button", { type: "button", id: "save", on: { click: write } }, "Save marks as CSV"),
  el("div", { class: "field" }, el("label", { for: "marks" }, "Go on with saved marks"), file), progress));

function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(state)); kept = true; } catch { kept = false; }
  tell();
}

function tell(also) {
  const done = data.rows.filter((row) => state.marks[row.id]?.mark).length;
  progress.textContent = done + " of " + data.rows.length + " marked. "
    + (kept ? "The browser keeps your marks on this machine until you save them." : "This browser keeps nothing: save your marks before you close the page.")
    + (also ? " " + also : "");
}

function write() {
  const rows = data.rows.filter((row) => state.marks[row.id]?.mark).map((row) => ({ item: row.id, rater: state.rater,
    mark: state.marks[row.id].mark, note: state.marks[row.id].note || "", kind: row.kind, claim: row.claim,
    value: row.value, weight: row.weight, stratum: row.stratum, problem_id: row.problem_id }));
  const name = (state.rater || "marks").replace(/[^A-Za-z0-9_-]+/g, "-");
  save("marks-" + name + "-" + data.sample + ".csv", "text/csv", toCsv(data.columns, rows));
}

function read() {
  file.files[0]?.text().then((text) => {
    const known = new Set(data.rows.map((row) => row.id));
    const rows = fromCsv(text).filter((row) => known.has(row.get("item")) && CHOICES.some(([mark]) => mark === row.get("mark")));
    for (const row of rows) state.marks[row.get("item")] = { mark: row.get("mark"), note: row.get("note") || "" };
    if (rows.length && !state.rater) rater.value = state.rater = rows[0].get("rater");
    keep();
    tell(counted(rows.length, "mark") + " of this sample read from " + file.files[0].name + ".");
    list.refresh();
    show();
  });
}

function show() { // the choice of the open item
  const open = readAddress().get("id");
  for (const button of document.querySelectorAll(".choices-of-mark button")) {
    button.setAttribute("aria-pressed", String(state.marks[open]?.mark === button.dataset.mark));
  }
}

function mark(choice) {
  const open = readAddress().get("id");
  if (open === null || !data.rows.some((row) => row.id === open)) return false;
  const known = state.marks[open] || {};
  if (known.mark === choice) delete state.marks[open]; // a second time takes it back
  else state.marks[open] = { ...known, mark: choice };
  keep();
  list.refresh();
  show();
  if (state.marks[open]?.mark) list.go((row) => !state.marks[row.id]?.mark);
  return true;
}

function showItem(item, row) {
  const note = el("input", { id: "note", value: state.marks[item.id]?.note || "", autocomplete: "off", on: { input: () => {
    state.marks[item.id] = { ...(state.marks[item.id] || {}), note: note.value };
    keep();
  } } });
  return el("div", {}, problemOf(item),
    item.steps ? [el("h3", {}, row.kind === "step" ? "Steps so far" : "The solution"), stepsOf(item.steps, 0, [], [])] : null,
    row.kind === "verdict" ? el("p", {}, "Its answer: ", el("span", { class: "answer" }, item.answer ?? NOTHING)) : null,
    row.kind === "refusal" ? el("p", {}, "Refused as ", el("strong", {}, item.reason), item.detail ? ": " + item.detail : "") : null,
    el("h3", { id: "asks" }, ASKS[row.kind]),
    el("div", { class: "tools choices-of-mark", role: "group", "aria-labelledby": "asks" }, CHOICES.map(([choice, key]) =>
      el("button", { type: "button", "data-mark": choice, "aria-pressed": String(state.marks[item.id]?.mark === choice),
        on: { click: () => mark(choice) } }, choice + " ", el("kbd", {}, key)))),
    el("div", { class: "field" }, el("label", { for: "note" }, "Note (optional)"), note));
}

for (const [choice, key] of CHOICES) onKey(key, "mark " + choice + ", and go on", () => mark(choice));
const KIND_NAMES = { step: "labelled steps", verdict: "grading verdicts", refusal: "curation's refusals" };
const list = browse({
  noun: "item",
  rows: data.rows,
  search: (row) => row.id + " " + row.about + " " + row.problem_id,
  filters: [
    { name: "kind", label: "What", options: optionsOf("kind").map(([kind]) => [kind, KIND_NAMES[kind]]), test: (row, value) => row.kind === value },
    { name: "marked", label: "Marked", options: [["no", "not yet"], ...CHOICES.map(([choice]) => [choice, choice])],
      test: (row, value) => (state.marks[row.id]?.mark || "no") === value },
    { name: "family", label: "Family", options: optionsOf("family"), test: (row, value) => row.family === value },
  ],
  orders: [{ name: "drawn", text: "as drawn" }],
  entry: (row) => [el("span", { class: "name" }, (state.marks[row.id]?.mark ? "✓ " : "") + row.kind + " of " + row.problem_id),
    el("span", { class: "say" }, row.about), el("span", { class: "soft" }, state.marks[row.id]?.mark || "not marked")],
  title: (item, row) => KIND_NAMES[row.kind].replace(/s$/, "") + " of " + row.problem_id,
  show: showItem,
});
tell();
