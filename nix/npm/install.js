// Installs a package-lock.json with npm, offline, from files that are there already; then builds.
//
// npm looks for a package in its cache by the hash that the lock has before it asks anybody. So the
// files are put where the cache has them: content-v2/ALGORITHM/xx/yy/REST, by the hash in
// hexadecimal (https://github.com/npm/cacache). A file with other bytes fails npm's own check.
"use strict";

const { execFileSync } = require("child_process");
const fs = require("fs");
const path = require("path");

const NPM = "/usr/share/nodejs/npm/bin/npm-cli.js";
const WORK = "/tmp/work";
const HOME = "/tmp/home";
const CACHE = "/tmp/cache";

const settings = JSON.parse(fs.readFileSync(process.env.settingsPath, "utf8"));

// The variables of the builder name the store and its output; commands see only these.
const environment = {
  HOME,
  PATH: "/usr/bin:/bin",
  TMPDIR: "/tmp",
  LC_ALL: "C.UTF-8",
  TZ: "UTC",
  SOURCE_DATE_EPOCH: "315532800",
  CI: "true",
  NODE_ENV: settings.dev ? "development" : "production",
};

function run(program, args) {
  try {
    execFileSync(program, args, { cwd: WORK, env: environment, stdio: ["ignore", 2, 2] });
  } catch (error) {
    fail(`${[path.basename(program), ...args].join(" ")} failed: ${error.message}`);
  }
}

function npm(...args) {
  const always = ["--offline", "--no-audit", "--no-fund", "--no-update-notifier"];
  run("/usr/bin/node", [NPM, ...args, ...always, "--cache", CACHE, "--loglevel", "error"]);
}

function fail(message) {
  console.error(`error: ${message}`);
  process.exit(1);
}

function addToCache({ integrity, file }) {
  const [algorithm, encoded] = integrity.split(/-(.*)/s);
  const hash = Buffer.from(encoded, "base64").toString("hex");
  const to = path.join(
    CACHE, "_cacache/content-v2", algorithm, hash.slice(0, 2), hash.slice(2, 4), hash.slice(4));
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.copyFileSync(file, to);
}

// A lock may leave out addresses; npm would then ask for the package's index.
function completeLock() {
  const file = path.join(WORK, "package-lock.json");
  const lock = JSON.parse(fs.readFileSync(file, "utf8"));
  for (const { path, url, integrity } of settings.packages) {
    Object.assign(lock.packages[path], { resolved: url, integrity });
  }
  fs.writeFileSync(file, JSON.stringify(lock, null, 2));
}

function copySource() {
  fs.cpSync(settings.source, WORK, { recursive: true, verbatimSymlinks: true });
  makeWritable(WORK);
}

// Files of the store are read-only.
function makeWritable(entry) {
  const about = fs.lstatSync(entry);
  if (about.isSymbolicLink()) return;
  fs.chmodSync(entry, about.mode | 0o200);
  if (about.isDirectory()) {
    for (const name of fs.readdirSync(entry)) makeWritable(path.join(entry, name));
  }
}

// Caches of tools hold times, paths and whatever ran before.
function removeCaches(modules) {
  for (const name of [".cache", ".vite", ".vite-temp"]) {
    fs.rmSync(path.join(modules, name), { recursive: true, force: true });
  }
}

// The part is `node_modules` alone; a package that is a directory beside it would be missing.
function checkLinks(directory) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const at = path.join(directory, entry.name);
    if (entry.isDirectory() && entry.name.startsWith("@")) checkLinks(at);
    if (entry.isSymbolicLink()) {
      fail(`${path.relative(WORK, at)} is a link to ${fs.readlinkSync(at)}, which is not in the part: ` +
        "publish that package, or bundle it with `build`");
    }
  }
}

function checkScripts() {
  for (const name of settings.scripts) {
    const installed = settings.packages.some((each) => each.name === name);
    if (!installed) fail(`the package ${name} of \`scripts\` is not installed`);
  }
}

function build() {
  const [program, ...args] = settings.build;
  if (program === "npm") npm(...args);
  else run(program, args);
  const made = path.join(WORK, settings.output);
  if (!fs.existsSync(made)) {
    fail(`${settings.build.join(" ")} made no ${settings.output}, which \`output\` names`);
  }
  return made;
}

function main() {
  fs.mkdirSync(HOME);
  copySource();
  completeLock();
  settings.packages.forEach(addToCache);
  const kinds = settings.dev ? [] : ["--omit=dev"];
  npm("ci", "--ignore-scripts", ...kinds);
  checkScripts();
  environment.PATH = `${WORK}/node_modules/.bin:${environment.PATH}`;
  if (settings.scripts.length > 0) npm("rebuild", "--foreground-scripts", ...settings.scripts);
  const modules = path.join(WORK, "node_modules");
  fs.mkdirSync(modules, { recursive: true });
  if (!settings.build) checkLinks(modules);
  const made = settings.build ? build() : modules;
  removeCaches(modules);
  const to = settings.build ? settings.out : path.join(settings.out, "node_modules");
  fs.cpSync(made, to, { recursive: true, verbatimSymlinks: true });
}

main();
