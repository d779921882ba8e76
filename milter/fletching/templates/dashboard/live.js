
"use strict";
const state = document.querySelector("[data-state]");
const news = document.querySelector("[data-news]");
const curve = document.querySelector("[data-curve]");
const source = new EventSource(document.body.dataset.live);
source.onopen = () => { state.textContent = "Live."; };
source.onerror = () => { state.textContent = "Not connected: these numbers may be old."; };
source.addEventListener("cells", (event) => {
  const told = JSON.parse(event.data);
  for (const cell of document.querySelectorAll("[data-cell]")) {
    if (Object.hasOwn(told, cell.dataset.cell)) cell.textContent = told[cell.dataset.cell];
  }
});
source.addEventListener("curve", (event) => { curve.innerHTML = JSON.parse(event.data); });
source.addEventListener("away", () => { state.textContent = "Redis does not answer: these numbers are old."; });
source.addEventListener("back", () => { state.textContent = "Live."; });
source.addEventListener("news", () => {
  const link = document.createElement("a");
  link.href = "";
  link.textContent = "Show them";
  news.replaceChildren("There are new campaigns. ", link);
});
