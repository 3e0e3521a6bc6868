// The page of a benchmark's candidates. A row of data.rows and an item: see candidate_items.py.

const rightness = (share) => share === null ? el("span", { class: "soft" }, "nothing")
  : share === 1 ? el("span", { class: "is-right" }, "right") : share === 0 ? el("span", { class: "is-wrong" }, "wrong")
    : el("span", { class: "soft" }, "tied, right by " + percent(share));

function strategyTable(item) {
  const line = (strategy) => el("tr", { class: strategy.primary ? "primary" : null },
    el("td", {}, strategy.name, strategy.primary ? [" ", el("span", { class: "tag" }, "primary")] : null),
    el("td", {}, rightness(strategy.right)),
    el("td", {}, strategy.answers.map((answer) => [el("span", { class: "answer" }, answer), " "])),
    el("td", {}, strategy.candidates.map((number) => [el("a", { href: addressWith({ id: item.id, state: number }) }, "#" + number), " "])));
  const table = (rows) => el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, ["strategy", "chose", "answer", "candidates"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.map(line))));
  return [table(item.strategies.slice(0, 3)),
    item.strategies.length > 3 ? el("details", {}, el("summary", {}, "By the other aggregates"), table(item.strategies.slice(3))) : null];
}

function voteTable(item) {
  return el("div", { class: "wide" }, el("table", {},
    el("thead", {}, el("tr", {}, ["answer", "votes", "weight (" + data.weight + ")", ""].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, item.votes.map((vote) => el("tr", {},
      el("td", {}, el("span", { class: "answer" }, vote.answer ?? NOTHING)), el("td", {}, String(vote.count)),
      el("td", {}, vote.weight.toFixed(2)), el("td", {}, rightness(vote.right ? 1 : 0)))))));
}

function candidateOf(item, candidate) {
  const main = candidate.chosen_by.slice(0, 4);
  const steps = candidate.steps
    ? [...candidate.steps, ...(candidate.answer === null ? [] : ["Answer: " + candidate.answer])] : null;
  return el("article", { class: "candidate" + (candidate.verdict === "correct" ? " right" : candidate.verdict === "incorrect" ? " wrong" : ""),
    id: "state-" + candidate.number, tabindex: "-1", "aria-label": "candidate " + candidate.number },
    el("h3", {}, el("a", { href: addressWith({ id: item.id, state: candidate.number }) }, "#" + candidate.number), " ",
      el("span", { class: candidate.verdict === "correct" ? "is-right" : candidate.verdict === "incorrect" ? "is-wrong" : "soft" },
        KINDS[candidate.verdict] || candidate.verdict), " ",
      el("span", { class: "tag" }, "by " + candidate.method)),
    el("p", { class: "meta" }, data.primary + " " + (candidate.score === null ? NOTHING : candidate.score.toPrecision(3)) + " · ",
      valueOf(data.weight, candidate.weight)),
    main.length ? el("p", {}, main.map((name) => [el("span", { class: "tag chosen" }, name), " "])) : null,
    steps ? stepsOf(steps, 0, candidate.prm, candidate.truth) : [el("span", { class: "tag" }, candidate.status), el("div", { class: "raw" }, candidate.text)]);
}

function showCandidates(item, row) {
  const wrongFirst = row.prm !== null && row.prm < 1 && row.right > 0;
  return el("div", {},
    problemOf(item),
    el("p", { class: "meta" }, [row.source, row.family, counted(row.candidates, "candidate"), row.right + " right",
      row.undecided ? row.undecided + " undecided" : null, row.unparsed ? row.unparsed + " unparsed" : null].filter(Boolean).join(" · ")),
    wrongFirst ? el("p", {}, "The PRM chose a wrong candidate while " + (row.right === 1 ? "a right one was" : row.right + " right ones were") + " there.") : null,
    el("div", { class: "pair" }, el("div", {}, el("h3", {}, "What each strategy chose"), strategyTable(item)),
      item.votes.length ? el("div", {}, el("h3", {}, "Votes"), voteTable(item)) : null),
    el("h3", {}, "Candidates, by the PRM's " + data.primary),
    el("div", { class: "cards" }, item.candidates.map((candidate) => candidateOf(item, candidate))));
}

function moveIn(by) {
  const cards = [...document.querySelectorAll(".candidate")];
  if (!cards.length) return false;
  const at = cards.indexOf(document.activeElement?.closest?.(".candidate"));
  const target = cards[at < 0 ? 0 : Math.max(0, Math.min(cards.length - 1, at + by))];
  target.focus();
  return true;
}

const isWrong = (share) => share !== null && share < 0.5;
const isRight = (share) => share !== null && share >= 0.5;
const CASES = [
  ["missed", "PRM wrong, a right one existed", (row) => isWrong(row.prm) && row.right > 0],
  ["rescued", "vote wrong, PRM right", (row) => isWrong(row.vote) && isRight(row.prm)],
  ["spoiled", "vote right, PRM wrong", (row) => isRight(row.vote) && isWrong(row.prm)],
  ["hopeless", "no candidate is right", (row) => row.right === 0],
  ["undecided", "graded undecided", (row) => row.undecided > 0],
  ["unparsed", "some do not parse", (row) => row.unparsed > 0],
];

onKey("ArrowDown", "next candidate", () => moveIn(1));
onKey("ArrowUp", "the candidate before", () => moveIn(-1));

browse({
  noun: "problem",
  rows: data.rows,
  search: (row) => row.id + " " + row.about,
  filters: [
    { name: "case", label: "Case", long: true, options: CASES.map(([name, text, test]) => [name, text + " (" + data.rows.filter(test).length + ")"]),
      test: (row, value) => (CASES.find(([name]) => name === value) || [0, 0, () => true])[2](row) },
    { name: "family", label: "Family", options: optionsOf("family"), test: (row, value) => row.family === value },
  ],
  orders: [
    { name: "surely", text: "the PRM most surely wrong", compare: (a, b) => (b.right > 0) - (a.right > 0) || (b.surely ?? -9) - (a.surely ?? -9) },
    { name: "id", text: "by name" },
    { name: "right", text: "fewest right candidates", compare: (a, b) => a.right - b.right },
  ],
  entry: (row) => [el("span", { class: "name" }, row.id), el("span", { class: "say" }, row.about),
    el("span", { class: "soft" }, row.right + " of " + row.candidates + " right · PRM ", rightness(row.prm), " · vote ", rightness(row.vote),
      row.surely === null ? null : " · wrong by " + fixed(row.surely))],
  show: showCandidates,
  focus: (detail, address) => {
    for (const card of detail.querySelectorAll(".candidate.here")) card.classList.remove("here");
    const card = address.get("state") === null ? null : document.getElementById("state-" + address.get("state"));
    if (card) {
      card.classList.add("here");
      card.scrollIntoView({ block: "start" });
      card.focus({ preventScroll: true });
    }
  },
});
