const units = data;
const byKey = new Map(units.map(unit => [unit.key, unit]));
const programs = [...new Set(units.flatMap(unit => unit.programs))];
const known = units.filter(unit => unit.seconds !== null);
const shared = units.filter(unit => programs.length > 1 && unit.programs.length === programs.length);

facts([
  [String(units.length), "units"],
  [String(new Set(units.map(unit => `${unit.package} ${unit.version}`)).size), "packages"],
  [String(units.filter(unit => unit.isLocal).length), "of the workspace"],
  [String(units.filter(unit => unit.platform === "host").length), "for the host"],
  [String(programs.length), "programs"],
  ...(programs.length > 1 ? [[String(shared.length), "shared by all programs"]] : []),
  ...(known.length ? [[seconds(known.reduce((total, unit) => total + unit.seconds, 0)), `of work known, ${known.length} units`]] : []),
]);

// Columns: how many units must be built before it, at least, if it is built as late as its users allow.
const depths = new Map();
function depth(unit) {
  if (!depths.has(unit.key)) depths.set(unit.key, unit.dependencies.length
    ? 1 + Math.max(...unit.dependencies.map(key => depth(byKey.get(key)))) : 0);
  return depths.get(unit.key);
}
units.forEach(depth);
const deepest = Math.max(...depths.values());
const levels = new Map();
function level(unit) {
  if (!levels.has(unit.key)) levels.set(unit.key, unit.dependents.length
    ? Math.min(...unit.dependents.map(key => level(byKey.get(key)))) - 1 : deepest);
  return levels.get(unit.key);
}
units.forEach(level);

section("Graph", "From left to right: what needs nothing, up to the programs. Point at a unit for what it uses and what uses it; click for what it is.");
const search = make("input", { placeholder: "find a unit", "aria-label": "find a unit" });
const groups = [...new Set(units.map(unit => unit.programs.join(", ")))].sort((a, b) => b.split(", ").length - a.split(", ").length || (a < b ? -1 : 1));
const palette = [1, 2, 3, 4, 5, 6].map(number => `var(--group-${number})`);
const fill = unit => palette[Math.min(groups.indexOf(unit.programs.join(", ")), palette.length - 1)];
legend(groups.slice(0, palette.length).map((group, index) => [palette[index], group.includes(", ") ? `for ${group}` : `for ${group} alone`]));
const panel = make("div", { class: "panel" }, "Nothing chosen.");
main.append(search);

const [boxWidth, boxHeight, columnWidth, rowHeight] = [124, 16, 176, 20];
const columns = Array.from({ length: deepest + 1 }, () => []);
for (const unit of units) columns[level(unit)].push(unit);
// Within a column units stand near what they use.
const row = new Map();
columns.forEach((column, index) => {
  const weight = unit => {
    const rows = unit.dependencies.map(key => row.get(key)).filter(value => value !== undefined);
    return rows.length ? rows.reduce((a, b) => a + b) / rows.length : Infinity;
  };
  if (index) column.sort((a, b) => weight(a) - weight(b) || (a.key < b.key ? -1 : 1));
  column.forEach((unit, place) => row.set(unit.key, place));
});
const tallest = Math.max(...columns.map(column => column.length));
const svg = draw("svg", { width: columns.length * columnWidth + 20, height: tallest * rowHeight + 24 });
const x = unit => 10 + level(unit) * columnWidth;
const y = unit => 10 + (row.get(unit.key) + (tallest - columns[level(unit)].length) / 2) * rowHeight;
const edges = [];
for (const unit of units) for (const key of unit.dependencies) {
  const used = byKey.get(key);
  const [x1, y1, x2, y2] = [x(used) + boxWidth, y(used) + boxHeight / 2, x(unit), y(unit) + boxHeight / 2];
  const middle = (x1 + x2) / 2;
  const path = draw("path", { class: "edge", d: `M${x1},${y1} C${middle},${y1} ${middle},${y2} ${x2},${y2}` });
  edges.push({ path, user: unit.key, used: key });
  svg.append(path);
}
const boxes = new Map();
for (const unit of units) {
  const rect = draw("rect", { x: x(unit), y: y(unit), width: boxWidth, height: boxHeight, rx: 3, fill: fill(unit) });
  const short = unit.name.length > 21 ? unit.name.slice(0, 20) + "…" : unit.name;
  boxes.set(unit.key, rect);
  explain(rect, () => `${unit.name}\n${unit.kind} · ${unit.platform}` + (unit.seconds === null ? "" : `\n${seconds(unit.seconds)}`));
  rect.addEventListener("mouseenter", () => highlight(new Set([unit.key])));
  rect.addEventListener("mouseleave", () => find());
  rect.addEventListener("click", () => choose(unit));
  svg.append(rect, draw("text", { x: x(unit) + 5, y: y(unit) + 12, "pointer-events": "none", style: "font-size:10px" }, short));
}
const frame = make("div", { class: "scroll" }, svg);
main.append(frame);
frame.scrollLeft = frame.scrollWidth;

function highlight(keys) {
  const near = new Set(keys);
  for (const edge of edges) {
    const on = keys.has(edge.user) || keys.has(edge.used);
    edge.path.classList.toggle("on", on && keys.size > 0);
    if (on) { near.add(edge.user); near.add(edge.used); }
  }
  for (const [key, rect] of boxes) rect.classList.toggle("dim", keys.size > 0 && !near.has(key));
}
function find() {
  const words = search.value.toLowerCase();
  highlight(new Set(words ? units.filter(unit => unit.name.toLowerCase().includes(words)).map(unit => unit.key) : []));
}
search.addEventListener("input", find);

function choose(unit) {
  const names = keys => keys.map(key => byKey.get(key).name).join(", ") || "–";
  const facts = [
    ["unit", unit.key], ["package", `${unit.package} ${unit.version}${unit.isLocal ? " (workspace)" : ""}`],
    ["target", unit.kind], ["for", unit.platform], ["features", unit.features.join(", ") || "–"],
    ["profile", unit.profile.join(" ") || "–"], ["needed for", unit.programs.join(", ") || "–"],
    ["because", [unit.name, ...unit.because].join(" → ")], ["uses", names(unit.dependencies)],
    ["used by", names(unit.dependents)], ["took", unit.seconds === null ? "not known" : seconds(unit.seconds)],
  ];
  panel.replaceChildren(make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
}
section("Chosen unit");
main.append(panel);
choose(units.find(unit => unit.programs.length && !unit.dependents.length) ?? units[0]);

section("All units");
table(units, [
  { title: "unit", value: unit => unit.name },
  { title: "target", value: unit => unit.kind },
  { title: "for", value: unit => unit.platform },
  { title: "took", number: true, value: unit => unit.seconds ?? -1, text: unit => unit.seconds === null ? "" : seconds(unit.seconds) },
  { title: "used by", number: true, value: unit => unit.dependents.length },
  { title: "features", value: unit => unit.features.join(" ") },
], () => "", 50);
