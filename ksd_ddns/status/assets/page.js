// Conveniences. Without this file the search field is a plain form, filters and pages are links, and all can be read.
"use strict";

const field = document.getElementById("q");
const announce = document.getElementById("found");
const PAUSE = 150; // milliseconds after the last key until a search starts
const EVERY = 10_000; // milliseconds between two refreshes
let request = new AbortController();
let typing = 0;

// The part of the page that a search, a filter, an order or another page of the table changes.
const table = () => document.getElementById("vms");

const fetched = async (address, signal) => {
  const answer = await fetch(address, { signal, headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(answer.statusText);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
};

// Replaces the table by that of `address`, which holds the search, filter, order and page.
async function show(address, history) {
  request.abort();
  const mine = (request = new AbortController());
  const wanted = new URL(address, location.href);
  const part = new URL(wanted);
  part.searchParams.set("part", "vms");
  let next;
  try {
    next = await fetched(part, AbortSignal.any([mine.signal, AbortSignal.timeout(EVERY)]));
  } catch (error) {
    if (!mine.signal.aborted) announce.textContent = "The controller does not answer.";
    return false;
  }
  if (mine.signal.aborted) return false;
  const found = next.getElementById("vms");
  if (!found) { // a standby has no table: show what it says
    location.href = wanted;
    return true;
  }
  const chosen = ["q", "state", "cause"].some((name) => wanted.searchParams.get(name));
  document.body.classList.toggle("searching", chosen);
  table().replaceWith(document.adoptNode(found));
  if (history) window.history[history](null, "", wanted);
  announce.textContent = table().dataset.found;
  return true;
}

function search() {
  clearTimeout(typing);
  if (!table()) return; // on other pages Enter leads to the results
  const address = new URL(location.pathname, location.href);
  if (field.value.trim()) address.searchParams.set("q", field.value.trim());
  typing = setTimeout(() => show(address, "replaceState"), PAUSE);
}

field.addEventListener("input", search);
field.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  field.value = "";
  search();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea")) return;
  event.preventDefault();
  field.focus();
  field.select();
});

// Filters, orders and pages are links; here they replace only the table.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("#vms nav a, #vms thead a, #vms .rest a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button) return;
  if (!link.getAttribute("href").startsWith("?")) return; // back to the full page
  event.preventDefault();
  const address = link.href;
  if (!(await show(address, "pushState"))) location.href = address;
  else document.getElementById("vms-h").focus();
});
window.addEventListener("popstate", () => location.reload()); // also the sections that only some views have

// Refresh the page while it is left open, but never while it is in use.
const asof = document.querySelector(".asof");
const busy = () =>
  document.hidden ||
  document.activeElement === field ||
  !getSelection().isCollapsed ||
  document.querySelector("main").contains(document.activeElement);

async function refresh() {
  let next;
  try {
    next = await fetched(location.href, AbortSignal.timeout(EVERY));
    if (!next.getElementById("sentence")) throw new Error("not the page");
  } catch {
    if (document.documentElement.classList.contains("stale")) return;
    document.documentElement.classList.add("stale");
    document.title = "No answer · ksd-ddns";
    asof.firstChild.data = "No answer since ";
    announce.textContent = "The controller does not answer.";
    return;
  }
  if (busy()) return;
  const before = document.getElementById("sentence").textContent;
  const open = [...document.querySelectorAll("details[open]")].map((details) => details.id);
  for (const part of ["main", ".asof time", "footer"]) document.querySelector(part).replaceWith(next.querySelector(part));
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").href;
  document.documentElement.className = next.documentElement.className;
  document.title = next.title;
  asof.firstChild.data = "As of ";
  const after = document.getElementById("sentence").textContent;
  if (after !== before) announce.textContent = after;
}

const button = document.createElement("button");
let paused = false;
button.type = "button";
button.textContent = "Pause";
button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Resume" : "Pause";
});
document.getElementById("refresh").replaceChildren("· every 10 s · ", button);
setInterval(() => paused || busy() || refresh(), EVERY);
