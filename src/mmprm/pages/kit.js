// The kit of all pages: elements, the data and its parts, the address, keys. A text is only ever set as text.

const data = JSON.parse(document.getElementById("data").textContent);
const page = document.getElementById("page");

// Make an element. attributes: text values, true for one without a value, null or false for none; on: {event: listener}.
function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(0) + " %");
const fixed = (value) => (value === null || value === undefined ? "–" : value.toFixed(2));
const counted = (n, noun) => n.toLocaleString("en") + " " + noun + (n === 1 ? "" : "s");

// Parts: each is an array of items, in the page or in a script file of the folder beside it, and loaded once.

const KEPT = 12; // parts in memory
const loaded = new Map(); // number -> promise of its items
const waiting = new Map(); // number -> what to call with its items
const trusted = data.folder && window.trustedTypes
  ? window.trustedTypes.createPolicy("mmprm", { createScriptURL: ownFile })
  : { createScriptURL: ownFile };

function ownFile(url) {
  if (!/^[A-Za-z0-9_.-]+\/\d{5,}\.js$/.test(url)) throw new Error("not a file of this page: " + url);
  return url;
}

window.mmprmPart = (number, items) => {
  if (waiting.has(number)) waiting.get(number)(items);
};

function loadPart(number) {
  if (!loaded.has(number)) {
    if (loaded.size >= KEPT) loaded.delete(loaded.keys().next().value);
    const inline = document.getElementById("part-" + number);
    const items = inline ? Promise.resolve(JSON.parse(inline.textContent)) : loadFile(number);
    items.catch(() => loaded.delete(number)); // another look tries again
    loaded.set(number, items);
  }
  return loaded.get(number);
}

function loadFile(number) {
  return new Promise((resolve, reject) => {
    const file = data.folder + "/" + String(number).padStart(5, "0") + ".js";
    const script = document.createElement("script");
    const end = () => { waiting.delete(number); script.remove(); };
    waiting.set(number, (items) => { end(); resolve(items); });
    script.addEventListener("error", () => { end(); reject(new Error(file + " is missing: copy it with the page, or make the page again")); });
    script.addEventListener("load", () => { if (waiting.has(number)) { end(); reject(new Error(file + " is damaged: make the page again")); } });
    script.src = trusted.createScriptURL(file);
    document.head.append(script);
  });
}

// The address holds what is shown, behind the #: whoever has the link sees the same.

function readAddress() {
  return new URLSearchParams(location.hash.slice(1));
}

function addressWith(changes) {
  const address = readAddress();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") address.delete(name);
    else address.set(name, value);
  }
  return "#" + address.toString();
}

// Single keys, which can be switched off for those who speak to their machine or whose hand slips.

const keys = []; // [key, what it does, function]
let keysOn = true;

function onKey(key, does, act) {
  keys.push([key, does, act]);
}

document.addEventListener("keydown", (event) => {
  if (!keysOn || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]):not([type=radio]), select, textarea")) return;
  const found = keys.find(([key]) => key === event.key);
  if (found && found[2]() !== false) event.preventDefault();
});

function keyHelp() {
  const box = el("input", { type: "checkbox", checked: true, on: { change: () => { keysOn = box.checked; } } });
  return el("details", { class: "keys" }, el("summary", {}, "Keys"),
    el("label", {}, box, " single keys work"),
    el("dl", {}, keys.map(([key, does]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, does)])));
}

// A file that the browser saves.
function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function pictures(images) {
  return images.map((image, index) => image
    ? el("img", { src: image.startsWith("data:image/") ? image : "", alt: "picture " + (index + 1) + " of the problem" })
    : el("p", { class: "missing" }, "picture " + (index + 1) + " cannot be shown"));
}

// The problem as the policy saw it, and its answer.
function problemOf(item) {
  return el("div", { class: "problem" },
    item.images.length ? el("div", { class: "pictures" }, pictures(item.images)) : null,
    el("div", { class: "words" },
      el("p", { class: "question" }, item.question === null ? "Its problem is in no table of the run." : item.question),
      item.choices.length ? el("ol", { class: "choices" }, item.choices.map((choice) => el("li", {}, choice))) : null,
      item.answer === null ? null : el("p", {}, "Answer: ", el("span", { class: "answer" }, item.answer))));
}

document.querySelector(".skip").addEventListener("click", (event) => { // its address would replace what is shown
  event.preventDefault();
  page.focus();
});
