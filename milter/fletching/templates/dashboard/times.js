
"use strict";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
let isLocal = zone !== "UTC";

const two = (number) => String(number).padStart(2, "0");

function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const utc = at.toISOString().slice(0, 16).replace("T", " ");
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    time.textContent = isLocal ? `${day} ${two(at.getHours())}:${two(at.getMinutes())}` : utc;
    time.title = isLocal ? `${utc} UTC` : "";
  }
}

const field = document.querySelector("[data-zone-field]");
if (field && !field.value) field.value = zone;
const note = document.querySelector("[data-zone]");
if (isLocal && note) {
  const other = document.createElement("button");
  other.type = "button";
  const show = () => {
    note.firstChild.data = `Times are ${isLocal ? `those of ${zone}` : "UTC"}. `;
    other.textContent = isLocal ? "Show UTC" : "Show local time";
    showTimes();
  };
  other.addEventListener("click", () => { isLocal = !isLocal; show(); });
  note.append(other);
  show();
}
