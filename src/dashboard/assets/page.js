// Keeps the page live: when the server says that something changed, the same address is loaded again, and rows that
// differ are replaced. Without this script the page is complete, and a browser loads it again every 30 seconds.
"use strict";

const root = document.documentElement.dataset.root || "./";
const live = document.getElementById("live");
const PAUSE = 2000; // The least time between two loads, in milliseconds.

let loading = false;
let again = false;
let lastLoad = 0;

// Two units, as the server writes a duration.
function spoken(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const m = Math.floor(s / 60), h = Math.floor(s / 3600);
  const two = (a, unit, b, rest) => a + " " + unit + (b ? " " + b + " " + rest : "");
  if (s < 60) return s + " s";
  if (s < 600) return two(m, "min", s % 60, "s");
  if (s < 3600) return m + " min";
  return two(h, "h", m % 60, "min");
}

// As kubectl prints an age.
function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  const m = Math.floor(s / 60), h = Math.floor(s / 3600), d = Math.floor(s / 86400);
  const two = (a, unit, b, rest) => a + unit + (b ? b + rest : "");
  if (s < 120) return s + "s";
  if (s < 600) return two(m, "m", s % 60, "s");
  if (s < 10800) return m + "m";
  if (s < 28800) return two(h, "h", m % 60, "m");
  if (s < 172800) return h + "h";
  return s < 691200 ? two(d, "d", h % 24, "h") : d + "d";
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-age]")) {
    const text = age((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
  for (const time of document.querySelectorAll("time[data-countdown]")) {
    const left = (Date.parse(time.dateTime) - Date.now()) / 1000;
    const text = left > 0 ? "in " + spoken(left) : "now";
    if (time.textContent !== text) time.textContent = text;
  }
}

function showCopyButtons() {
  for (const button of document.querySelectorAll("button[data-copy][hidden]")) button.hidden = false;
}

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Without HTTPS there is no clipboard: the command is selected instead.
    const range = document.createRange();
    range.selectNodeContents(code);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    return;
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// What the server rendered, without what this script changes.
function same(a, b) {
  const plain = (node) => {
    const copy = node.cloneNode(true);
    for (const button of copy.querySelectorAll("button[data-copy]")) { button.hidden = true; button.textContent = "Copy"; }
    for (const time of copy.querySelectorAll("time")) time.textContent = "";
    for (const details of copy.querySelectorAll("details")) details.open = false;
    return copy.outerHTML;
  };
  return plain(a) === plain(b);
}

// Makes a list equal to the new one. Rows that did not change stay, with their focus and their open details.
function replaceRows(list, fresh) {
  const known = new Map([...list.children].map((row) => [row.id, row]));
  let at = list.firstElementChild;
  for (const row of [...fresh.children]) {
    let current = known.get(row.id);
    known.delete(row.id);
    if (!current || !same(current, row)) {
      const open = current && current.querySelector("details[open]");
      if (open && row.querySelector("details")) row.querySelector("details").open = true;
      const next = document.importNode(row, true);
      if (current && current === at) at = at.nextElementSibling;
      if (current) current.remove();
      current = next;
    } else if (current === at) {
      at = at.nextElementSibling;
      continue;
    }
    list.insertBefore(current, at);
  }
  for (const gone of known.values()) gone.remove();
}

// Everything of an element but its list of rows is replaced where it differs.
function replaceAround(old, next) {
  const list = [...old.children].find((it) => it.id.startsWith("rows-"));
  const isList = (it) => list && it.id === list.id;
  const around = (of) => [...of.children].filter((it) => !isList(it));
  const fresh = around(next), known = around(old);
  if (fresh.length === known.length && fresh.every((it, at) => same(it, known[at]))) return;
  for (const it of known) it.remove();
  let before = true;
  for (const it of next.children) {
    if (isList(it)) before = false;
    else if (before && list) old.insertBefore(document.importNode(it, true), list);
    else old.append(document.importNode(it, true));
  }
}

function replace(fresh) {
  const main = document.getElementById("main"), next = fresh.getElementById("main");
  const notices = document.getElementById("notices"), now = fresh.getElementById("notices");
  if (!same(notices, now)) notices.replaceChildren(...now.children);
  const sections = [...main.querySelectorAll("section[data-band]")];
  const band = (section) => next.querySelector(`section[data-band="${section.dataset.band}"]`);
  const sameShape = sections.length && sections.length === next.querySelectorAll("section[data-band]").length && sections.every(band);
  if (sameShape) {
    for (const section of sections) {
      replaceAround(section, band(section));
      const list = section.querySelector("[id^=rows-]"), rows = list && fresh.getElementById(list.id);
      if (rows) replaceRows(list, rows);
    }
    // What is beside the sections, apart from the filter, in which a person may write.
    const beside = (of) => [...of.children].filter((it) => !["SECTION", "FORM"].includes(it.tagName));
    const known = beside(main), others = beside(next);
    if (known.length !== others.length || known.some((it, at) => !same(it, others[at]))) {
      for (const it of known) if (it.tagName !== "H1") it.remove();
      for (const it of others) if (it.tagName !== "H1") main.append(document.importNode(it, true));
    }
    const words = main.querySelector("form .where"), newer = next.querySelector("form .where");
    if (words && newer && !same(words, newer)) words.replaceWith(document.importNode(newer, true));
  } else if (!same(main, next)) {
    main.replaceChildren(...next.children);
  }
  document.title = fresh.title;
  showCopyButtons();
  countDown();
}

async function load() {
  if (loading) { again = true; return; }
  loading = true;
  // Not all open pages load at the same moment.
  await new Promise((done) => setTimeout(done, Math.max(0, lastLoad + PAUSE - Date.now()) + Math.random() * 500));
  lastLoad = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const text = await answer.text();
    replace(new DOMParser().parseFromString(text, "text/html"));
    live.textContent = "Live updates are on";
  } catch {
    live.textContent = "No connection; showing what was known before";
  }
  loading = false;
  if (again) { again = false; load(); }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
showCopyButtons();
setInterval(countDown, 1000);
let events = null;

// A page that nobody sees has no stream: a browser opens only a few connections to one server.
function listen() {
  if (events) events.close();
  events = null;
  if (document.hidden) return;
  events = new EventSource(root + "api/v1/events");
  events.addEventListener("changed", load);
  // What changed before the stream was open.
  events.onopen = () => { live.textContent = "Live updates are on"; load(); };
  events.onerror = () => {
    live.textContent = "No connection; trying again";
    // A server that refuses the stream ends it; a lost connection is opened again by the browser.
    if (events && events.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}
document.addEventListener("visibilitychange", listen);
listen();
