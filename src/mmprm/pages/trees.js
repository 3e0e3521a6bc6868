// The page of annotated trees. A row of data.rows: {id, part, at, about, source, family, split, mc, states, errors, apart,
// misplaced}; an item: see tree_items.py.

function rolloutOf(rollout, from) {
  const verdict = KINDS[rollout.verdict] || rollout.verdict;
  return el("li", {},
    el("span", { class: rollout.verdict === "correct" ? "is-right" : rollout.verdict === "incorrect" ? "is-wrong" : "soft" }, verdict),
    " ", el("span", { class: "tag" }, "by " + rollout.method), rollout.searched ? [" ", el("span", { class: "tag" }, "searched")] : null,
    rollout.status === "ok"
      ? [stepsOf(rollout.steps, from, [], []), el("p", {}, "Answer: ", el("span", { class: "answer" }, rollout.answer ?? NOTHING))]
      : [" ", el("span", { class: "tag" }, rollout.status), el("div", { class: "raw" }, rollout.text)]);
}

// What the rollouts from a state say, and these as its details.
function countsOf(node, from) {
  const further = [];
  if (node.unparsed) further.push(node.unparsed + " unparsed");
  if (node.undecided) further.push(node.undecided + " undecided");
  const details = el("details", {}, el("summary", {},
    valueOf("MC", node.mc, "Monte Carlo value: the share of right rollouts from here"),
    ": " + node.right + " of " + counted(node.drawn, "rollout") + " right" + (further.length ? ", " + further.join(", ") : "")
      + ", visited " + node.visits + "×",
    node.error ? [" ", el("span", { class: "tag error" }, "first error")] : null,
    node.misplaced ? [" ", el("span", { class: "tag" }, "truth: step " + node.misplaced)] : null));
  // Filled when it is opened: a tree may have a thousand rollouts.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(el("ul", { class: "rollouts" }, node.rollouts.map((rollout) => rolloutOf(rollout, from))));
    }
  });
  return details;
}

function stateOf(item, node) {
  const from = node.from + node.steps.length;
  const kind = node.mc === null ? "" : node.mc === 0 ? " wrong" : node.mc >= 0.5 ? " right" : "";
  return el("div", { class: "state" + kind, id: "state-" + node.id },
    el("a", { class: "link", href: addressWith({ id: item.id, state: node.id }), "aria-label": "link to state " + node.id }, "#" + node.id),
    node.steps.length ? stepsOf(node.steps, node.from, node.prm, node.truth) : el("span", { class: "soft" }, "the question alone"),
    countsOf(node, from));
}

// States in the order of the tree; a state with one child is followed by it at the same depth, so that chains stay flat.
function branch(item, children, node) {
  const line = [el("li", {}, stateOf(item, node))];
  let below = children.get(node.id) || [];
  while (below.length === 1) {
    line.push(el("li", {}, stateOf(item, below[0])));
    below = children.get(below[0].id) || [];
  }
  if (below.length) line.push(el("li", {}, below.map((child) => el("ul", { class: "fork" }, branch(item, children, child)))));
  return line;
}

function showTree(item, row) {
  const children = new Map();
  for (const node of item.nodes) {
    if (node.parent !== null) children.set(node.parent, [...(children.get(node.parent) || []), node]);
  }
  const tree = el("ul", { class: "nodes" }, branch(item, children, item.nodes[0]));
  const openAll = (open) => () => { for (const details of tree.querySelectorAll("details")) details.open = open; };
  const facts = [item.status + (item.reason ? " (" + item.reason + ")" : ""), counted(item.nodes.length, "state"),
    counted(item.searches, "search").replace(/searchs$/, "searches"), counted(item.drawn, "rollout"), counted(item.tokens, "token")];
  return el("div", {},
    problemOf(item),
    el("p", { class: "meta" }, [row.source, row.family, row.split === "dev" ? "held out (dev)" : row.split, ...facts].filter(Boolean).join(" · ")),
    data.scored_by
      ? el("p", { class: "meta" }, "PRM: P(yes) by the variant ", el("code", {}, data.scored_by),
        row.split === "train" ? ", which was trained on this problem." : ", which did not see this problem in training.")
      : null,
    el("div", { class: "tools" }, el("button", { type: "button", on: { click: openAll(true) } }, "Open all rollouts"),
      el("button", { type: "button", on: { click: openAll(false) } }, "Close all")),
    tree);
}

// From state to state of the open tree.
function moveIn(by) {
  const summaries = [...document.querySelectorAll(".state > details > summary")];
  if (!summaries.length) return false;
  const at = summaries.indexOf(document.activeElement);
  const target = summaries[at < 0 ? 0 : Math.max(0, Math.min(summaries.length - 1, at + by))];
  target.focus();
  return true;
}

const band = (value) => value === null ? "none" : value === 0 ? "0" : value < 0.25 ? "a" : value < 0.5 ? "b" : value < 0.75 ? "c" : value < 1 ? "d" : "1";
onKey("ArrowDown", "next state of the tree", () => moveIn(1));
onKey("ArrowUp", "the state before", () => moveIn(-1));

browse({
  noun: "tree",
  rows: data.rows,
  search: (row) => row.id + " " + row.about,
  filters: [
    { name: "source", label: "Source", options: optionsOf("source"), test: (row, value) => row.source === value },
    { name: "family", label: "Family", options: optionsOf("family"), test: (row, value) => row.family === value },
    { name: "mc", label: "MC of the question", test: (row, value) => band(row.mc) === value,
      options: [["0", "0"], ["a", "0 to 0.25"], ["b", "0.25 to 0.5"], ["c", "0.5 to 0.75"], ["d", "0.75 to 1"], ["1", "1"], ["none", "not known"]]
        .filter(([value]) => data.rows.some((row) => band(row.mc) === value)) },
    { name: "apart", label: "PRM and MC apart", test: (row, value) => (row.apart ?? -1) >= Number(value),
      options: data.scored_by ? [["0.25", "by 0.25 or more"], ["0.5", "by 0.5 or more"], ["0.75", "by 0.75 or more"]] : [] },
    { name: "error", label: "First error", options: [["yes", "located"], ["no", "none located"], ["off", "located, and not the true one"]]
        .filter(([value]) => value !== "off" || data.truth),
      test: (row, value) => value === "yes" ? row.errors > 0 : value === "no" ? row.errors === 0 : row.misplaced > 0 },
    { name: "split", label: "Split", options: optionsOf("split"), test: (row, value) => row.split === value },
  ],
  orders: [
    { name: "id", text: "by name" },
    ...(data.scored_by ? [{ name: "apart", text: "PRM and MC furthest apart", compare: falling("apart") }] : []),
    { name: "errors", text: "most first errors", compare: falling("errors") },
    { name: "states", text: "most states", compare: falling("states") },
    { name: "mc", text: "lowest MC of the question", compare: (a, b) => (a.mc ?? 2) - (b.mc ?? 2) },
  ],
  entry: (row) => [el("span", { class: "name" }, row.id), el("span", { class: "say" }, row.about),
    el("span", { class: "soft" }, "MC " + fixed(row.mc) + " · " + counted(row.states, "state")
      + (row.errors ? " · " + counted(row.errors, "first error") : "") + (row.apart === null ? "" : " · PRM apart " + fixed(row.apart)))],
  show: showTree,
  focus: (detail, address) => {
    for (const state of detail.querySelectorAll(".state.here")) state.classList.remove("here");
    const state = address.get("state") === null ? null : document.getElementById("state-" + address.get("state"));
    if (state) {
      state.classList.add("here");
      state.scrollIntoView({ block: "center" });
      state.querySelector("summary").focus({ preventScroll: true });
    }
  },
});
