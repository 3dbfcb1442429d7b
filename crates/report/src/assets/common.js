"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");

// An element with attributes and children; text is never read as markup.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
function section(title, note) {
  main.append(make("h2", {}, title));
  if (note) main.append(make("p", { class: "note" }, note));
}
function facts(list) {
  main.append(make("div", { class: "facts" }, ...list.map(([value, name]) =>
    make("div", { class: "fact" }, make("b", {}, value), make("span", {}, name)))));
}
function legend(list) {
  main.append(make("div", { class: "legend" }, ...list.map(([color, name]) =>
    make("span", {}, make("i", { style: `background:${color}` }), name))));
}
function seconds(value) {
  if (value >= 90) return `${Math.floor(value / 60)} min ${String(Math.round(value % 60)).padStart(2, "0")} s`;
  return value >= 9.95 ? `${value.toFixed(1)} s` : `${value.toFixed(2)} s`;
}
function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < 3) { value /= 1024; unit++; }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}
const color = kind => `var(--${["lib", "metadata", "proc-macro", "build-script", "build-script-run", "bin", "download"]
  .includes(kind) ? kind : "other"})`;

const tip = make("div", { class: "tip" });
document.body.append(tip);
function explain(element, text) {
  element.addEventListener("mousemove", event => {
    tip.textContent = text();
    tip.style.display = "block";
    const right = event.clientX + 16 + tip.offsetWidth > innerWidth;
    tip.style.left = `${right ? event.clientX - tip.offsetWidth - 12 : event.clientX + 16}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  element.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}

// A table that sorts by its heads and shows rows that hold a text.
// columns: { title, number, value(row), text(row) }
function table(rows, columns, rowClass, limit) {
  const filter = make("input", { placeholder: "filter", "aria-label": "filter" });
  const body = make("tbody");
  let order = null;
  const show = () => {
    const words = filter.value.toLowerCase();
    const cell = (column, row) => String((column.text ?? column.value)(row));
    let shown = rows.filter(row => columns.some(column => cell(column, row).toLowerCase().includes(words)));
    if (order) shown.sort((a, b) => {
      const [x, y] = [order.column.value(a), order.column.value(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * order.direction;
    });
    const rest = shown.length - limit;
    body.replaceChildren(...shown.slice(0, words ? undefined : limit).map(row =>
      make("tr", { class: rowClass(row) }, ...columns.map((column, index) =>
        make("td", { class: column.number ? "number" : index ? "" : "name" }, cell(column, row))))));
    if (!words && rest > 0) body.append(make("tr", {}, make("td", { colspan: columns.length, class: "quiet" },
      `${rest} more: type a part of a name`)));
  };
  const heads = columns.map(column => {
    const head = make("th", { class: column.number ? "number" : "" }, column.title);
    head.addEventListener("click", () => {
      const again = order?.column === column;
      order = { column, direction: again ? -order.direction : column.number ? -1 : 1 };
      show();
    });
    return head;
  });
  filter.addEventListener("input", show);
  show();
  if (rows.length > 12) main.append(filter);
  main.append(make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body));
}
