// A list of items with a search, filters and an order, and beside it the one that is open.
//
// browse({noun, rows, search, filters, orders, entry, show}): a row has id, part and at, and whatever the functions
// read. filters: [{name, label, long, options: [[value, text]], test(row, value)}], orders: [{name, text, compare(a, b)}], the
// first is used where none is chosen. entry(row): what stands in the list. title(item, row), show(item, row): the open
// one. Returns {refresh(): draw the list again, go(test): open the next row that passes}.

const A_PAGE = 50; // rows of the list that are shown at a time

function browse(what) {
  const byId = new Map(what.rows.map((row, index) => [row.id, index]));
  const texts = what.rows.map((row) => what.search(row).toLowerCase());
  let shown = []; // indices of rows
  let first = 0;
  let open; // id; null: none, not set: nothing was shown yet
  let listed = null; // the filters that `shown` was made by

  const search = el("input", { type: "search", id: "q", autocomplete: "off", spellcheck: "false" });
  const selects = what.filters.filter((filter) => filter.options.length > 1).map((filter) => [filter,
    el("select", { id: "f-" + filter.name }, el("option", { value: "" }, "all"),
      filter.options.map(([value, text]) => el("option", { value }, text)))]);
  const order = el("select", { id: "order" }, what.orders.map(({ name, text }) => el("option", { value: name }, text)));
  const count = el("p", { class: "count", role: "status" });
  const list = el("ol", { class: "entries" });
  const previous = el("button", { type: "button", on: { click: () => turn(-A_PAGE) } }, "← earlier");
  const next = el("button", { type: "button", on: { click: () => turn(A_PAGE) } }, "later →");
  const detail = el("section", { class: "detail", "aria-label": "The open " + what.noun });

  const field = (label, control, long) => el("div", { class: long ? "field long" : "field" }, el("label", { for: control.id }, label), control);
  const controls = el("form", { class: "controls", role: "search", on: { submit: (event) => event.preventDefault() } },
    field("Search", search, true), selects.map(([filter, select]) => field(filter.label, select, filter.long)), field("Order", order, true));
  page.append(el("div", { class: "browse" },
    el("section", { class: "list", "aria-label": "List of " + what.noun + "s" },
      controls, count, list, el("div", { class: "turn" }, previous, next), keyHelpLater()), detail));

  function keyHelpLater() {
    const place = el("div");
    queueMicrotask(() => place.append(keyHelp()));
    return place;
  }

  let typed = null;
  search.addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(changed, 120); });
  for (const control of [...selects.map(([, select]) => select), order]) control.addEventListener("change", changed);

  function changed() {
    const values = { q: search.value, order: order.value === what.orders[0].name ? "" : order.value };
    for (const [filter, select] of selects) values[filter.name] = select.value;
    history.replaceState(null, "", addressWith(values));
    follow();
  }

  function follow() {
    const address = readAddress();
    const wanted = ["q", "order", ...selects.map(([filter]) => filter.name)].map((name) => address.get(name) || "");
    if (listed === null || wanted.join("\n") !== listed) {
      listed = wanted.join("\n");
      if (document.activeElement !== search) search.value = wanted[0];
      order.value = wanted[1] || what.orders[0].name;
      selects.forEach(([, select], index) => { select.value = wanted[2 + index]; });
      select(wanted);
    }
    openFrom(address);
    mark();
  }

  function select(wanted) {
    const words = wanted[0].toLowerCase().split(/\s+/).filter(Boolean);
    const tests = selects.map(([filter], index) => [filter.test, wanted[2 + index]]).filter(([, value]) => value);
    shown = what.rows.map((_, index) => index).filter((index) =>
      words.every((word) => texts[index].includes(word)) && tests.every(([test, value]) => test(what.rows[index], value)));
    const { compare } = what.orders.find(({ name }) => name === wanted[1]) || what.orders[0];
    if (compare) shown.sort((a, b) => compare(what.rows[a], what.rows[b]) || a - b);
    first = 0;
    fill();
  }

  function fill() {
    const part = shown.slice(first, first + A_PAGE);
    list.replaceChildren(...part.map((index) => {
      const row = what.rows[index];
      return el("li", {}, el("a", { href: addressWith({ id: row.id, state: null }), "data-id": row.id }, what.entry(row)));
    }));
    list.start = first + 1;
    count.textContent = shown.length === what.rows.length
      ? counted(shown.length, what.noun) : shown.length.toLocaleString("en") + " of " + counted(what.rows.length, what.noun);
    if (shown.length > A_PAGE) count.textContent += ", " + (first + 1) + " to " + Math.min(first + A_PAGE, shown.length) + " shown";
    previous.disabled = first === 0;
    next.disabled = first + A_PAGE >= shown.length;
    mark();
  }

  function turn(by) {
    first = Math.max(0, first + by);
    fill();
    const link = list.querySelector("a");
    if (link) link.focus();
  }

  function mark() {
    for (const link of list.querySelectorAll("a")) {
      link.href = addressWith({ id: link.dataset.id, state: null });
      if (link.dataset.id === open) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  function openFrom(address) {
    const id = address.get("id");
    document.body.classList.toggle("has-open", id !== null);
    if (id === open) {
      if (id !== null) what.focus?.(detail, address);
      return;
    }
    open = id;
    if (id === null) {
      detail.replaceChildren(el("p", { class: "missing" }, "Choose " + (/^[aeiou]/.test(what.noun) ? "an " : "a ") + what.noun + " from the list."));
      return;
    }
    const row = what.rows[byId.get(id)];
    if (row === undefined) {
      detail.replaceChildren(back(), el("p", { class: "missing" }, "There is no " + what.noun + " " + id + " on this page."));
      return;
    }
    loadPart(row.part).then((items) => {
      if (open !== id) return; // another one was opened in the meantime
      const heading = el("h2", { tabindex: "-1" }, what.title ? what.title(items[row.at], row) : id);
      detail.replaceChildren(back(), steps(id), heading, what.show(items[row.at], row));
      if (document.activeElement !== search) heading.focus({ preventScroll: true });
      detail.scrollTop = 0;
      if (matchMedia("(max-width: 60rem)").matches) window.scrollTo(0, 0);
      what.focus?.(detail, readAddress());
    }, (error) => {
      if (open === id) detail.replaceChildren(back(), el("p", { class: "missing", role: "alert" }, error.message));
    });
  }

  const back = () => el("a", { class: "back", href: addressWith({ id: null, state: null }) }, "← all " + what.noun + "s");

  function steps(id) {
    const at = shown.indexOf(byId.get(id));
    const link = (index, text) => shown[index] === undefined ? null
      : el("a", { href: addressWith({ id: what.rows[shown[index]].id, state: null }) }, text);
    return el("p", { class: "steps-of-list" }, at < 0 ? null : [link(at - 1, "← previous"), " ", link(at + 1, "next →")]);
  }

  function go(by) {
    const at = shown.indexOf(byId.get(open));
    openAt(open === null || at < 0 ? 0 : at + by);
  }

  // Open the next row behind the open one that passes the test, or the first one that does.
  function goTo(test) {
    const at = shown.indexOf(byId.get(open));
    const later = shown.findIndex((index, place) => place > at && test(what.rows[index]));
    openAt(later >= 0 ? later : shown.findIndex((index) => test(what.rows[index])));
  }

  function openAt(target) {
    if (shown[target] === undefined) return;
    const page_ = Math.floor(target / A_PAGE) * A_PAGE;
    if (page_ !== first) { first = page_; fill(); }
    location.hash = addressWith({ id: what.rows[shown[target]].id, state: null });
  }

  onKey("n", "next " + what.noun, () => go(1));
  onKey("p", "previous " + what.noun, () => go(-1));
  onKey("/", "search", () => { if (open !== null && search.offsetParent === null) location.hash = addressWith({ id: null }); search.focus(); });
  addEventListener("hashchange", follow);
  follow();
  return { refresh: fill, go: goTo };
}
