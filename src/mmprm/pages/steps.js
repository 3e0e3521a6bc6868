// Steps, values and verdicts, as all pages show them.

const KINDS = { correct: "right", incorrect: "wrong" };
const NOTHING = "–";

const valueOf = (name, value, title) => el("span", { class: "value", title }, name + " ", bar(value), fixed(value));

function bar(value) {
  if (value === null || value === undefined) return null;
  const element = el("span", { class: "bar " + (value >= 0.5 ? "high" : "low"), "aria-hidden": "true" });
  element.style.setProperty("--share", value);
  return element;
}

const truthMark = (truth) => truth === null ? null
  : el("span", { class: truth === "wrong" ? "is-wrong" : truth === "right" ? "is-right" : "soft" }, "truth: " + truth);

function stepsOf(texts, from, values, truths) {
  return el("ol", { class: "steps" }, texts.map((text, index) => el("li", {},
    el("span", { class: "no" }, String(from + index + 1)),
    el("span", {}, text),
    el("span", { class: "values" },
      values[index] === undefined ? null : valueOf("PRM", values[index], "the PRM's P(yes) after this step"),
      truths[index] === undefined ? null : truthMark(truths[index])))));
}

// The number of a field of an item on the list, largest first; and the values of a field as options of a filter.
const optionsOf = (name) => [...new Set(data.rows.map((row) => row[name]).filter((value) => value !== null))].sort().map((value) => [value, value]);
const falling = (name) => (a, b) => (b[name] ?? -1) - (a[name] ?? -1);
