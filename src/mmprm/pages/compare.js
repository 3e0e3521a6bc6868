// Runs beside each other. data.runs, settings, comparisons, heldout, costs: see compare.py.

const runs = data.runs.map((run) => run.name);
const share = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1));
const points = (value) => (value === null || value === undefined ? "–" : (value < 0 ? "−" : "+") + Math.abs(100 * value).toFixed(1));
const count = (value) => (value === null || value === undefined ? "–" : Math.round(value).toLocaleString("en"));

function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 60) return seconds.toFixed(1) + " s";
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? minutes + " min" : Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
}

// A table that scrolls by itself where it is too wide; rows: arrays of cells, or of [cell, class].
function tableOf(name, heads, rows, classOf = () => null) {
  return el("div", { class: "wide", tabindex: "0", role: "group", "aria-label": name }, el("table", {},
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((cells, index) => el("tr", { class: classOf(index) }, cells.map((cell) => el("td", {}, cell)))))));
}

const NAMES = { random: "random pick", majority: "majority vote", weighted_majority: "vote weighted by the PRM", oracle: "oracle" };
const nameOf = (metric, n) => NAMES[metric] || "best of " + n + " by " + metric.replace("bon/", "");

// The difference as a point with its interval, about zero; all of a table have the same scale.
function whisker(row, most) {
  const at = (value) => (50 + 50 * value / most).toFixed(2) + "%";
  const point = el("span", { class: "point" });
  point.style.setProperty("left", at(row.difference));
  const parts = [el("span", { class: "zero" }), point];
  if (row.ci_low !== null) {
    const range = el("span", { class: "range" });
    range.style.setProperty("left", at(row.ci_low));
    range.style.setProperty("width", (50 * (row.ci_high - row.ci_low) / most).toFixed(2) + "%");
    parts.splice(1, 0, range);
  }
  return el("span", { class: "whisker " + (row.ci_low > 0 ? "high" : row.ci_high < 0 ? "low" : ""), "aria-hidden": "true" }, parts);
}

const ends = (low, high, show) => (low === null || low === undefined ? null : el("span", { class: "soft interval" }, " " + show(low) + " to " + show(high)));

function differencesOf(comparison, n) {
  const rows = comparison.rows.filter((row) => row.n === n);
  const most = Math.max(0.01, ...rows.flatMap((row) => [row.difference, row.ci_low, row.ci_high]).map((value) => Math.abs(value ?? 0)));
  return tableOf(comparison.benchmark + ", " + n + " candidates each",
    ["chosen by", comparison.first + ", %", comparison.other + ", %", "difference, points", "", "what it shows"],
    rows.map((row) => [
      [nameOf(row.metric, n), row.primary ? [" ", el("span", { class: "tag" }, "primary")] : null],
      [share(row.first), ends(row.first_low, row.first_high, share)],
      [share(row.other), ends(row.other_low, row.other_high, share)],
      [el("b", {}, points(row.difference)), ends(row.ci_low, row.ci_high, points)],
      whisker(row, most), el("span", { class: "says" }, row.finding)]),
    (index) => (rows[index].primary ? "primary" : null));
}

function problemsOf(comparison) {
  if (!comparison.differ.length) return el("p", {}, "No problem is solved in one run and not in the other.");
  const link = (page, id, value) => page === null ? share(value) : el("a", { href: page + "#id=" + encodeURIComponent(id) }, share(value));
  const more = comparison.better + comparison.worse - comparison.differ.length;
  return el("details", {}, el("summary", {}, "Problems that differ: " + comparison.better + " better, " + comparison.worse + " worse"),
    tableOf("problems that differ", ["problem", comparison.first + ", %", comparison.other + ", %"],
      comparison.differ.map(([id, first, other]) => [id, link(comparison.pages[0], id, first), link(comparison.pages[1], id, other)])),
    more > 0 ? el("p", { class: "note" }, "and " + more + " more, which differ less") : null);
}

function section(comparison) {
  const sizes = [...new Set(comparison.rows.map((row) => row.n))].reverse();
  const left = [[comparison.only_first, "only in " + comparison.first], [comparison.only_other, "only in " + comparison.other],
    [comparison.changed, "not the same in both"], [comparison.undecided, "without a verdict"]].filter(([number]) => number);
  return el("section", { class: "text" },
    el("h2", {}, comparison.benchmark + ": " + comparison.other + " against " + comparison.first),
    el("p", { class: "meta" }, [counted(comparison.problems, "shared problem"),
      comparison.groups < comparison.problems ? comparison.groups + " groups that share no image" : null,
      comparison.domain, "PRM " + [...new Set(comparison.variants)].join(" and "),
      comparison.trainings > 1 ? comparison.trainings + " trainings" : "one training of each",
      ...left.map(([number, why]) => number + " " + why)].filter(Boolean).join(" · ")),
    differencesOf(comparison, sizes[0]),
    sizes.length > 1 ? el("details", {}, el("summary", {}, "With fewer candidates"),
      sizes.slice(1).map((n) => [el("h3", {}, counted(n, "candidate") + " each"), differencesOf(comparison, n)])) : null,
    problemsOf(comparison));
}

const MEASURES = { loss: "loss against MC values", constant_loss: "loss of the best constant", ece: "calibration error",
  auc_steps: "AUC over all steps", auc_within_problem: "AUC within a problem" };

function heldout() {
  const rows = data.heldout.filter((row) => row.values.some((value) => value !== null && value !== undefined));
  if (!rows.length) return null;
  return el("section", { class: "text" }, el("h2", {}, "The PRMs on held-out problems"),
    tableOf("held-out measures", ["PRM", "measure", ...runs], rows.map((row) => [row.variant, MEASURES[row.measure],
      ...row.values.map((value) => value === null || value === undefined ? "–" : value.toFixed(3))])),
    el("p", { class: "note" }, "Each run holds out problems of its own trees: these differ between runs, and are no paired comparison."));
}

function costs() {
  const sum = (key, index) => data.costs.reduce((all, row) => all + (row[key][index] ?? 0), 0);
  const all = { stage: "all", seconds: runs.map((_, index) => sum("seconds", index)), tokens: runs.map((_, index) => sum("tokens", index)) };
  const rows = [...data.costs, all];
  return el("section", { class: "text" }, el("h2", {}, "What it cost"),
    data.costs.length ? tableOf("cost of each stage", ["stage", ...runs.map((name) => name + ", time"), ...runs.map((name) => name + ", generated tokens")],
      rows.map((row) => [row.stage, ...row.seconds.map(time), ...row.tokens.map(count)]), (index) => (index === rows.length - 1 ? "primary" : null))
      : el("p", { class: "missing" }, "No job of these runs has left its time or tokens."),
    el("p", { class: "note" }, "Times are of the last attempt of each job. Those of different machines, or of machines that did other work, are not comparable."));
}

const facts = [...new Set(data.runs.flatMap((run) => Object.keys(run.facts)))];
page.append(
  el("section", { class: "text" }, el("h2", {}, "The runs"),
    tableOf("the runs", ["", ...runs], facts.map((fact) => [fact, ...data.runs.map((run) => run.facts[fact] ?? "–")]))),
  ...data.comparisons.map(section),
  data.comparisons.length ? "" : el("section", { class: "text" }, el("p", { class: "missing" }, "Nothing could be compared.")),
  data.left_out.length ? el("section", { class: "text" }, el("h3", {}, "Not compared"), el("ul", {}, data.left_out.map((why) => el("li", {}, why)))) : "",
  el("section", { class: "text" }, el("h2", {}, "Settings that differ"),
    data.settings.length ? tableOf("settings that differ", ["setting", ...runs],
      data.settings.map((row) => [el("code", {}, row.key), ...row.values.map((value) => value === null ? "–" : el("code", {}, value))]))
      : el("p", {}, "None: all settings are the same.")),
  heldout() || "",
  costs());
