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
}
all("th button").forEach((b) => b.addEventListener("click", () => sortTable(b.closest("th"))));
all("input[data-search]").forEach((input) => {
  const rows = all("tbody tr", document.getElementById(input.dataset.search));
  const count = one("output", input.parentElement);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${rows.length}` : "";
  });
});

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
const box = one("#gallery-cards"), page = { order: [], shown: 0, size: 12 };
async function showMore() {
  const next = page.order.slice(page.shown, page.shown + page.size);
  page.shown += next.length;
  const html = await Promise.all(next.map((row) => loadCard(row[0])));
  box.insertAdjacentHTML("beforeend", html.join(""));
  one("#gallery-more").hidden = page.shown >= page.order.length;
  one("#gallery-count").textContent = `${page.shown} of ${page.order.length} shown`;
}
if (box) {
  const index = JSON.parse(one("#gallery-index").textContent);
  const order = one("#gallery-order");
  page.order = index;
  page.shown = box.children.length;
  order.addEventListener("change", () => {
    const [column, sign] = order.value.split(" ").map(Number);
    page.order = [...index].sort((a, b) => {
      const x = a[column], y = b[column];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    page.shown = 0;
    box.replaceChildren();
    showMore();
  });
  one("#gallery-more").addEventListener("click", showMore);
}
const dialog = one("dialog");
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-nodule]");
  if (!button) return;
  one("#dialog-card").innerHTML = await loadCard(button.dataset.nodule);
  one("#dialog-legend").replaceChildren(...all("fieldset.legend label").map((label) => label.cloneNode(true)));
  one("#dialog-card .card").removeAttribute("id");
  dialog.showModal();
});
one("dialog button")?.addEventListener("click", () => dialog.close());

// Light or dark, as the system asks until a person says otherwise.
one("#theme")?.addEventListener("click", () => {
  const root = document.documentElement.style;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.colorScheme = (root.colorScheme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
});

// The part of the page that is read is marked in the list of parts.
const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
  if (!entry.isIntersecting) return;
  all("nav a").forEach((a) => a.classList.toggle("here", a.hash === `#${entry.target.id}`));
}), { rootMargin: "-15% 0px -75% 0px" });
all("section").forEach((section) => watcher.observe(section));
