const { record, reasons, images } = data;
const units = record.units.map((unit, index) => ({ ...unit, why: reasons[index], seconds: unit.span.end - unit.span.start }));
const ran = units.filter(unit => unit.outcome !== "skipped");
const chain = ran.filter(unit => unit.critical).sort((a, b) => a.span.start - b.span.start);
const sum = list => list.reduce((total, value) => total + value, 0);
const busy = sum(ran.filter(unit => unit.kind !== "download").map(unit => unit.seconds));
const count = outcome => units.filter(unit => unit.outcome === outcome).length;

facts([
  [seconds(record.seconds), "in all"],
  [String(count("built")), "built"],
  ...(count("failed") ? [[String(count("failed")), "failed"], [String(count("skipped")), "not built"]] : []),
  [String(record.fetched.length), "from caches"],
  [seconds(sum(record.evaluations.map(span => span.end - span.start))), "evaluating"],
  [`${Math.round(100 * busy / (record.jobs * record.seconds || 1))} %`, `of ${record.jobs} slots busy`],
  [seconds(sum(chain.map(unit => unit.seconds))), "on the critical path"],
]);

function timeline() {
  section("Timeline", "A row for each build that runs at once. Outlined: the critical path, which the end waited for.");
  legend([...["lib", "metadata", "proc-macro", "build-script", "build-script-run", "bin", "other", "download"]
    .filter(kind => kind === "other" || ran.some(unit => unit.kind === kind))
    .map(kind => [color(kind), kind]), ["var(--evaluation)", "evaluation"], ["var(--failed)", "failed"]]);
  const rows = ["Nix", ...(record.fetched.length ? ["caches"] : [])];
  const slots = Math.max(0, ...ran.map(unit => unit.slot + 1));
  for (let slot = 0; slot < slots; slot++) rows.push(slot < record.jobs ? `build ${slot + 1}` : `download ${slot - record.jobs + 1}`);
  const [left, top, height] = [80, 22, 24];
  const box = make("div", { class: "scroll" });
  main.append(box);
  const width = box.clientWidth - 2;
  const svg = draw("svg", { width, height: top + rows.length * height + 6 });
  const x = time => left + (width - left - 12) * time / (record.seconds || 1);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800].find(s => record.seconds / s <= 12) ?? 3600;
  for (let time = 0; x(time) < width - 60; time += step) {
    svg.append(draw("line", { class: "grid", x1: x(time), x2: x(time), y1: top - 4, y2: top + rows.length * height }),
      draw("text", { class: "quiet", x: x(time) + 3, y: 13 }, seconds(time).replace(/\.0+ s/, " s")));
  }
  rows.forEach((name, row) => svg.append(draw("text", { class: "quiet", x: 8, y: top + row * height + 16 }, name)));
  const bar = (row, span, fill, text, label, critical) => {
    const bar = draw("rect", { x: x(span.start), y: top + row * height + 2, rx: 2, height: height - 4,
      width: Math.max(1, x(span.end) - x(span.start) - 0.5), fill, class: critical ? "critical" : "" });
    explain(bar, text);
    svg.append(bar);
    if (label && x(span.end) - x(span.start) > 7 * label.length) svg.append(draw("text",
      { x: x(span.start) + 5, y: top + row * height + 16, "pointer-events": "none", style: "fill:#fff" }, label));
  };
  for (const span of record.evaluations) bar(0, span, "var(--evaluation)", () => `evaluation\n${seconds(span.end - span.start)}`);
  for (const fetch of record.fetched) bar(1, fetch.span, "var(--download)",
    () => `${fetch.path.slice(44)}\nfrom ${fetch.from}\n${seconds(fetch.span.end - fetch.span.start)}`);
  const first = rows.length - slots;
  const late = [...ran].sort((a, b) => a.critical - b.critical);
  for (const unit of late) bar(first + unit.slot, unit.span, unit.outcome === "failed" ? "var(--failed)" : color(unit.kind),
    () => `${unit.name}\n${seconds(unit.seconds)}, expected ${seconds(unit.expected)}, cores: ${unit.cores}\n${unit.why}`,
    unit.name, unit.critical);
  box.append(svg);
}

function criticalPath() {
  if (!chain.length) return;
  section("Critical path", "Each ended last of what the next one waited for. More cores do not shorten it; less work on it does. Waiting is time in which it was ready and another build ran.");
  const rows = chain.map((unit, index) => ({ ...unit, waited: unit.span.start - (index ? chain[index - 1].span.end : unit.span.start) }));
  table(rows, [
    { title: "derivation", value: unit => unit.name },
    { title: "starts", number: true, value: unit => unit.span.start, text: unit => seconds(unit.span.start) },
    { title: "waited", number: true, value: unit => unit.waited, text: unit => seconds(unit.waited) },
    { title: "took", number: true, value: unit => unit.seconds, text: unit => seconds(unit.seconds) },
  ], () => "", 60);
}

function whatWasBuilt() {
  section("What was built, and why", "The slowest first. Outlined above, coloured here: the critical path.");
  const rows = [...units].sort((a, b) => b.seconds - a.seconds);
  table(rows, [
    { title: "derivation", value: unit => unit.name },
    { title: "kind", value: unit => unit.kind },
    { title: "took", number: true, value: unit => unit.seconds, text: unit => unit.outcome === "skipped" ? "not built" : seconds(unit.seconds) },
    { title: "expected", number: true, value: unit => unit.expected, text: unit => seconds(unit.expected) },
    { title: "cores", number: true, value: unit => unit.cores },
    { title: "why", value: unit => unit.why },
  ], unit => unit.outcome === "failed" ? "failed" : unit.critical ? "critical" : "", 40);
}

function caches() {
  if (!record.fetched.length) return;
  section("From caches");
  table(record.fetched, [
    { title: "path", value: fetch => fetch.path.slice(44) },
    { title: "cache", value: fetch => fetch.from },
    { title: "took", number: true, value: fetch => fetch.span.end - fetch.span.start, text: fetch => seconds(fetch.span.end - fetch.span.start) },
  ], () => "", 20);
}

// Squarified treemaps: Bruls, Huizing, van Wijk (2000).
function squares(items, x, y, width, height, place) {
  const total = sum(items.map(item => item.bytes));
  if (!items.length || total <= 0) return;
  const scale = width * height / total;
  const side = Math.min(width, height);
  const worst = row => {
    const area = sum(row.map(item => item.bytes)) * scale;
    const sizes = row.map(item => item.bytes * scale);
    return Math.max(side * side * Math.max(...sizes) / area ** 2, area ** 2 / (side * side * Math.min(...sizes)));
  };
  let row = [items[0]];
  while (row.length < items.length && worst([...row, items[row.length]]) <= worst(row)) row.push(items[row.length]);
  const depth = sum(row.map(item => item.bytes)) * scale / side;
  let offset = 0;
  for (const item of row) {
    const length = item.bytes * scale / depth;
    if (width >= height) place(item, x, y + offset, depth, length);
    else place(item, x + offset, y, length, depth);
    offset += length;
  }
  const rest = items.slice(row.length);
  if (width >= height) squares(rest, x + depth, y, width - depth, height, place);
  else squares(rest, x, y + depth, width, height - depth, place);
}

function layers() {
  if (!images.length) return;
  section("Layers", "Areas are compressed bytes, to one scale. A layer that several images have in common is stored and pushed once.");
  legend([["var(--group-1)", "in several images"], ["var(--group-2)", "in this image alone"]]);
  const users = new Map();
  for (const image of images) for (const digest of new Set(image.layers.map(layer => layer.digest)))
    users.set(digest, [...(users.get(digest) ?? []), image.name]);
  const largest = Math.max(...images.map(image => sum(image.layers.map(layer => layer.bytes))));
  const maps = make("div", { class: "maps" });
  for (const image of images) {
    const size = sum(image.layers.map(layer => layer.bytes));
    const edge = Math.max(90, 520 * Math.sqrt(size / largest));
    const svg = draw("svg", { width: edge, height: edge * 0.75 });
    const sorted = [...image.layers].filter(layer => layer.bytes > 0).sort((a, b) => b.bytes - a.bytes);
    squares(sorted, 0, 0, edge, edge * 0.75, (layer, x, y, width, height) => {
      const others = users.get(layer.digest).filter(name => name !== image.name);
      const rect = draw("rect", { x: x + 1, y: y + 1, width: Math.max(0, width - 2), height: Math.max(0, height - 2), rx: 2,
        fill: others.length ? "var(--group-1)" : "var(--group-2)" });
      explain(rect, () => `${layer.name}\n${bytes(layer.bytes)}\n${layer.digest.slice(0, 19)}…` +
        (others.length ? `\nalso in ${others.join(", ")}` : ""));
      svg.append(rect);
      if (width > 7 * layer.name.length && height > 18) svg.append(draw("text",
        { x: x + 7, y: y + 16, "pointer-events": "none" }, layer.name));
      if (width > 60 && height > 34) svg.append(draw("text",
        { x: x + 7, y: y + 30, "pointer-events": "none" }, bytes(layer.bytes)));
    });
    maps.append(make("div", {}, make("h3", {}, `${image.name} · ${image.platform} · ${bytes(size)}`), svg));
  }
  main.append(maps);
}

timeline();
criticalPath();
whatWasBuilt();
caches();
layers();
