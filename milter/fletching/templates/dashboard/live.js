
"use strict";
const state = document.querySelector("[data-state]");
const news = document.querySelector("[data-news]");
const curve = document.querySelector("[data-curve]");
const source = new EventSource(document.body.dataset.live);
source.onopen = () => { state.textContent = "Live."; };
source.onerror = () => { state.textContent = "Disconnected: these numbers may be out of date."; };
source.addEventListener("cells", (event) => {
  const changed = JSON.parse(event.data);
  for (const cell of document.querySelectorAll("[data-cell]")) {
    if (Object.hasOwn(changed, cell.dataset.cell)) cell.textContent = changed[cell.dataset.cell];
  }
});
source.addEventListener("curve", (event) => { curve.innerHTML = JSON.parse(event.data); globalThis.showTimes?.(); });
source.addEventListener("away", () => { state.textContent = "Redis is unavailable: these numbers are out of date."; });
source.addEventListener("back", () => { state.textContent = "Live."; });
source.addEventListener("news", () => {
  const link = document.createElement("a");
  link.href = "";
  link.textContent = "Reload";
  news.replaceChildren("There are new campaigns. ", link);
});
