"use strict";
// The page works without this file; it adds sorting, searching, layers and further cards.
const all = (query, from = document) => [...from.querySelectorAll(query)];
const one = (query, from = document) => from.querySelector(query);

// Tables: a click on a heading sorts, missing values stay last; the search hides rows.
const keyOf = (row, column) => row.cells[column].dataset.key ?? row.cells[column].textContent;
function sortTable(heading) {
  const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
  const down = heading.getAttribute("aria-sort") === "ascending";
  const isNumber = heading.classList.contains("n"), sign = down ? -1 : 1;
  all("th", table).forEach((other) => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...body.rows].sort((a, b) => {
    const x = keyOf(a, column), y = keyOf(b, column);
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (isNumber ? x - y : x.localeCompare(y, undefined, { numeric: true }));
  });
  body.append(...rows);
  table.dispatchEvent(new Event("arranged"));
}
all("th button").forEach((b) => b.addEventListener("click", () => sortTable(b.closest("th"))));
// A search holds words, and comparisons such as diameter>20 with the column whose name starts so.
const COMPARISON = /^([a-z][\w-]*?)(>=|<=|>|<|=)(.+)$/;
function conditionOf(word, table) {
  const [, name, sign, wanted] = word.match(COMPARISON) ?? [];
  const heads = [...table.tHead.rows[0].cells];
  const column = name ? heads.findIndex((head) => head.dataset.name.startsWith(name) || head.textContent.toLowerCase().startsWith(name)) : -1;
  if (column < 0) return (row) => row.textContent.toLowerCase().includes(word);
  if (!heads[column].classList.contains("n")) {
    return (row) => row.cells[column].textContent.trim().toLowerCase() === wanted;
  }
  const limit = Number(wanted);
  return (row) => {
    const key = keyOf(row, column), value = Number(key);
    if (key === "") return false;
    return { ">": value > limit, "<": value < limit, ">=": value >= limit, "<=": value <= limit, "=": value === limit }[sign];
  };
}
function searchTable(input) {
  const table = document.getElementById(input.dataset.search), rows = [...table.tBodies[0].rows];
  const conditions = input.value.toLowerCase().split(/\s+/).filter(Boolean).map((word) => conditionOf(word, table));
  let shown = 0;
  for (const row of rows) {
    row.hidden = !conditions.every((holds) => holds(row));
    shown += !row.hidden;
  }
  const words = conditions.length ? `${shown} of ${rows.length}` : "";
  all(`input[data-search="${table.id}"]`).forEach((other) => { other.value = input.value; });
  all(`input[data-search="${table.id}"] + output`).forEach((output) => { output.textContent = words; });
  all(`[data-save="${table.id}"]`).forEach((button) => { button.hidden = !conditions.length; });
  table.dispatchEvent(new Event("arranged"));
}
all("input[data-search]").forEach((input) => input.addEventListener("input", () => searchTable(input)));

// What a search left can be saved; the link beside it holds all rows.
function csvOf(table) {
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [[...table.tHead.rows[0].cells].map((head) => head.dataset.name)];
  [...table.tBodies[0].rows].filter((row) => !row.hidden).forEach((row) => {
    lines.push([...row.cells].map((cell, column) => keyOf(row, column).trim()));
  });
  return lines.map((line) => line.map(quote).join(",")).join("\n") + "\n";
}
all("[data-save]").forEach((button) => button.addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csvOf(document.getElementById(button.dataset.save))], { type: "text/csv" }));
  link.download = `${button.dataset.save.replace("table-", "")}-selected.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
}));

// Outlines: each box of the legend shows or hides one layer in every picture.
const layers = document.createElement("style");
document.head.append(layers);
function showLayers() {
  const off = all(".legend input").filter((box) => !box.checked).map((box) => box.dataset.layer);
  layers.textContent = off.map((name) => `.picture .${name}{display:none}`).join("");
}
document.addEventListener("change", (event) => {
  const layer = event.target.dataset.layer;
  if (!layer) return;
  all(`input[data-layer=${layer}]`).forEach((box) => { box.checked = event.target.checked; });
  showLayers();
});
showLayers();

// Cards: each nodule's card is a small script, loaded when it is wanted.
const waiting = new Map(), cards = new Map();
window.quorumCard = (id, html) => { cards.set(id, html); waiting.get(id)?.(html); };
function loadCard(id) {
  if (cards.has(id)) return Promise.resolve(cards.get(id));
  return new Promise((resolve, reject) => {
    waiting.set(id, resolve);
    const script = document.createElement("script");
    script.src = `${document.body.dataset.assets}/nodules/${id}.js`;
    script.onerror = () => reject(new Error(`the card of ${id} is missing`));
    document.head.append(script);
  });
}
// The gallery shows the rows of the nodules' table: in its order, and those that a search left.
const box = one("#gallery-cards"), gallery = { shown: 0, size: 12, turn: 0 };
const tableOf = () => one("#table-nodules");
const idsOf = (table) => all("tbody tr:not([hidden]) [data-nodule]", table).map((link) => link.dataset.nodule);
function countCards(ids) {
  one("#gallery-more").hidden = gallery.shown >= ids.length;
  one("#gallery-count").textContent = `${gallery.shown} of ${ids.length} shown`;
}
async function showMore() {
  const ids = idsOf(tableOf()), next = ids.slice(gallery.shown, gallery.shown + gallery.size), turn = gallery.turn;
  const html = await Promise.all(next.map(loadCard));
  if (turn !== gallery.turn) return;
  box.insertAdjacentHTML("beforeend", html.join(""));
  gallery.shown += next.length;
  countCards(ids);
}
if (box) {
  gallery.shown = box.children.length;
  countCards(idsOf(tableOf()));
  const headOf = () => tableOf().tHead.rows[0].cells[one("#gallery-order").value];
  one("#gallery-order").addEventListener("change", () => { headOf().removeAttribute("aria-sort"); sortTable(headOf()); });
  one("#gallery-turn").addEventListener("click", () => sortTable(headOf()));
  one("#gallery-more").addEventListener("click", showMore);
  tableOf().addEventListener("arranged", () => {
    const sorted = one("th[aria-sort]", tableOf());
    if (sorted) one("#gallery-order").value = sorted.cellIndex;
    gallery.shown = 0;
    gallery.turn += 1;
    box.replaceChildren();
    showMore();
  });
}

// One nodule over the page; the arrow keys turn to the next one of the list it was opened from.
const dialog = one("dialog");
let list = [], place = 0;
async function openNodule(id, ids) {
  [list, place] = [ids, Math.max(ids.indexOf(id), 0)];
  one("#dialog-card").innerHTML = await loadCard(id);
  one("#dialog-card .card").removeAttribute("id");
  all("[data-turn]").forEach((button) => { button.disabled = !list[place + Number(button.dataset.turn)]; });
  if (!dialog.open) dialog.showModal();
}
const turnBy = (step) => list[place + step] && openNodule(list[place + step], list);
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-nodule]");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const table = link.closest("table");
  openNodule(link.dataset.nodule, table ? idsOf(table) : [link.dataset.nodule]);
});
one("[data-close]")?.addEventListener("click", () => dialog.close());
all("[data-turn]").forEach((button) => button.addEventListener("click", () => turnBy(Number(button.dataset.turn))));
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input")) return;
  if (event.key === "ArrowLeft") turnBy(-1);
  if (event.key === "ArrowRight") turnBy(1);
});
// A nodule has an address: cubes.html#nodule-<id>.
const asked = location.hash.match(/^#nodule-([0-9a-f-]+)$/)?.[1];
if (asked && box && idsOf(tableOf()).includes(asked)) openNodule(asked, idsOf(tableOf()));

// Light or dark, as the system asks until a person says otherwise.
one("#theme")?.addEventListener("click", () => {
  const root = document.documentElement.style;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.colorScheme = (root.colorScheme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  try { localStorage.setItem("quorum-theme", root.colorScheme); } catch { /* a browser may refuse */ }
});

// The part of the page that is read is marked in the list of parts.
const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  all("nav .parts a").forEach((a) => a.classList.toggle("here", a.hash === `#${entry.target.id}`));
}), { rootMargin: "-15% 0px -75% 0px" });
all("section").forEach((section) => watcher.observe(section));
