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

function replace(fresh) {
  const lists = [...document.querySelectorAll("[id^=rows-]")];
  const sameLists = lists.length && lists.every((list) => fresh.getElementById(list.id));
  if (!sameLists) {
    // Another kind of page: everything that differs is replaced, unless a person is at work in it.
    const main = document.getElementById("main"), next = fresh.getElementById("main");
    if (!same(main, next) && !main.contains(document.activeElement)) main.replaceChildren(...next.children);
  }
  for (const list of sameLists ? lists : []) replaceRows(list, fresh.getElementById(list.id));
  for (const heading of document.querySelectorAll("h2[id]")) {
    const next = fresh.getElementById(heading.id);
    if (next && next.textContent !== heading.textContent) {
      heading.textContent = next.textContent;
      heading.className = next.className;
    }
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
    live.textContent = "Live updates are on, last change at " + new Date().toLocaleTimeString();
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
function listen() {
  const events = new EventSource(root + "api/v1/events");
  events.addEventListener("changed", load);
  events.onopen = () => { live.textContent = "Live updates are on"; };
  events.onerror = () => {
    live.textContent = "No connection; trying again";
    // A server that refuses the stream ends it for good; a lost connection is opened again by the browser.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => { listen(); load(); }, 5000);
  };
}
listen();
