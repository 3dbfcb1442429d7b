//! Compares `assemble affected` with full evaluations, over random edits of a workspace.

use crate::checkout::{self, Checkout, assemble};
use crate::nix;
use crate::trial::trial;
use crate::workspaces::commit_all;
use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// The default number of edits, of which at least one touches nothing, almost certainly.
const EDITS: usize = 20;
/// The number of edits of which at least one touches something. A run that goes on at an edit may
/// have fewer.
const FEW: usize = 12;
/// The variables with the number of edits, the seed of the random numbers, and the first edit to
/// check. Those before it are made and committed only, so a long run can go on where it ended.
const HOW_MANY: &str = "CRATEYARD_EDITS";
const SEED: &str = "CRATEYARD_SEED";
const FIRST: &str = "CRATEYARD_FIRST_EDIT";

/// The tests of this file.
pub fn trials() -> Vec<Trial> {
    vec![trial(
        "affected::names_what_has_another_store_path_after_any_edit".into(),
        any_edit,
    )]
}

/// A workspace: two libraries, three programs, each with tests, embedded files and documents.
const FILES: [(&str, &str); 22] = [
    (
        "Cargo.toml",
        "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n\n[profile.release]\nopt-level = \
         1\n",
    ),
    ("README.md", "# Shop\n"),
    ("docs/guide.md", "# Guide\n"),
    ("deploy/app.yaml", "image: crateyard://web\n"),
    ("etc/motd", "welcome\n"),
    (
        "images.toml",
        "version = 1\n\n[images.web]\nbinaries = [\"web\"]\n\n[images.api]\nbinaries = \
         [\"api\"]\nfiles = [{ source = \"etc/motd\", path = \"/etc/motd\" \
         }]\n\n[images.all]\nbinaries = [\"api\", \"tool\"]\nenvironment = { MODE = \"a\" }\n",
    ),
    (
        "crates/base/Cargo.toml",
        "[package]\nname = \"base\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    ),
    ("crates/base/src/lib.rs", "pub mod inner;\n"),
    (
        "crates/base/src/inner.rs",
        "pub fn one() -> u32 {\n    1\n}\n\n#[test]\nfn is_one() {\n    assert_eq!(one(), 1);\n}\n",
    ),
    ("crates/base/README.md", "# base\n"),
    (
        "crates/extra/Cargo.toml",
        "[package]\nname = \"extra\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[features]\nmore \
         = []\n",
    ),
    (
        "crates/extra/src/lib.rs",
        "pub const TABLE: &str = include_str!(\"../table.txt\");\n",
    ),
    ("crates/extra/table.txt", "1 2 3\n"),
    (
        "crates/extra/tests/reads.rs",
        "#[test]\nfn has() {\n    assert!(!extra::TABLE.is_empty());\n}\n",
    ),
    (
        "crates/web/Cargo.toml",
        "[package]\nname = \"web\"\nversion = \"0.1.0\"\nedition = \
         \"2021\"\n\n[dependencies]\nbase = { path = \"../base\" }\n",
    ),
    (
        "crates/web/src/main.rs",
        "fn main() {\n    println!(\"{} {}\", base::inner::one(), \
         include_str!(\"page.html\"));\n}\n",
    ),
    ("crates/web/src/page.html", "<p>hello</p>\n"),
    (
        "crates/api/Cargo.toml",
        "[package]\nname = \"api\"\nversion = \"0.1.0\"\nedition = \
         \"2021\"\n\n[dependencies]\nbase = { path = \"../base\" }\nextra = { path = \"../extra\" \
         }\n",
    ),
    (
        "crates/api/src/main.rs",
        "fn main() {\n    println!(\"{} {}\", base::inner::one(), extra::TABLE);\n}\n",
    ),
    (
        "crates/tool/Cargo.toml",
        "[package]\nname = \"tool\"\nversion = \"0.1.0\"\nedition = \
         \"2021\"\n\n[dependencies]\nextra = { path = \"../extra\" }\n",
    ),
    (
        "crates/tool/src/main.rs",
        "fn main() {\n    println!(\"{}\", extra::TABLE);\n}\n",
    ),
    ("crates/tool/NOTES.md", "# Notes\n"),
];

/// Returns the text to append to a file, by its extension. It never stops the file from compiling.
fn addition(file: &str, number: usize) -> String {
    match file.rsplit('.').next().unwrap_or_default() {
        "rs" => format!("// edit {number}\n"),
        "toml" | "lock" | "yaml" => format!("# edit {number}\n"),
        _ => format!("edit {number}\n"),
    }
}

/// Texts that are swapped for each other: file, one text, the other.
const SWAPS: [(&str, &str, &str); 9] = [
    ("Cargo.toml", "opt-level = 1", "opt-level = 2"),
    ("images.toml", "MODE = \"a\"", "MODE = \"b\""),
    ("images.toml", "/etc/motd\" }", "/etc/motd.txt\" }"),
    (
        "images.toml",
        "binaries = [\"api\", \"tool\"]",
        "binaries = [\"tool\"]",
    ),
    (
        "crates/extra/Cargo.toml",
        "more = []",
        "more = []\nless = []",
    ),
    (
        "crates/tool/Cargo.toml",
        "path = \"../extra\" }",
        "path = \"../extra\", features = [\"more\"] }",
    ),
    (
        "crates/web/Cargo.toml",
        "edition = \"2021\"",
        "edition = \"2021\"\ndescription = \"A page\"",
    ),
    (
        "crates/base/Cargo.toml",
        "version = \"0.1.0\"",
        "version = \"0.2.0\"",
    ),
    ("crates/base/src/inner.rs", "    1\n}", "    2 - 1\n}"),
];

/// Files that are added and removed.
const COMERS: [&str; 5] = [
    "docs/more.md",
    "crates/base/tests/more.rs",
    "crates/web/src/unused.rs",
    "crates/tool/data.txt",
    "deploy/more.yaml",
];

struct Shop {
    directory: TempDir,
    _crateyard: Checkout,
}

impl Shop {
    fn new() -> Result<Self> {
        let crateyard = Checkout::new()?;
        commit_all(crateyard.path())?;
        let shop = Self {
            directory: tempfile::tempdir()?,
            _crateyard: crateyard,
        };
        for (file, text) in FILES {
            shop.write(file, text)?;
        }
        let flake = format!(
            "{{\n  inputs.crateyard.url = \"git+file://{}\";\n  outputs = {{ self, crateyard }}: \
             crateyard.lib.mkFlake {{ src = self; }};\n}}\n",
            shop._crateyard.path().display()
        );
        shop.write("flake.nix", &flake)?;
        shop.lock()?;
        duct::cmd!("git", "init", "--quiet")
            .dir(shop.path())
            .run()?;
        duct::cmd!("git", "add", "--all").dir(shop.path()).run()?;
        nix::nix(&[
            "flake",
            "lock",
            &format!("git+file://{}", shop.path().display()),
        ])?;
        commit_all(shop.path())?;
        Ok(shop)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        checkout::write(self.path(), file, text)
    }

    fn read(&self, file: &str) -> Result<String> {
        fs::read_to_string(self.path().join(file)).with_context(|| format!("cannot read {file}"))
    }

    /// Brings Cargo.lock up to date with the manifests.
    fn lock(&self) -> Result<()> {
        duct::cmd!("cargo", "update", "--quiet", "--offline", "--workspace")
            .dir(self.path())
            .env_remove("CARGO_TARGET_DIR")
            .run()?;
        Ok(())
    }

    /// Makes an edit, and describes it.
    fn edit(&self, random: &mut fastrand::Rng, number: usize) -> Result<String> {
        let what = match random.usize(..10) {
            // People write these edits most often.
            0..=5 => {
                let (file, _) = FILES[random.usize(..FILES.len())];
                self.write(file, &(self.read(file)? + &addition(file, number)))?;
                format!("a line in {file}")
            }
            6 | 7 => {
                let (file, one, other) = SWAPS[random.usize(..SWAPS.len())];
                let text = self.read(file)?;
                let is_other = text.contains(other);
                let (from, to) = if is_other { (other, one) } else { (one, other) };
                self.write(file, &text.replacen(from, to, 1))?;
                self.lock()?;
                format!("{to:?} in {file}")
            }
            8 => {
                let text = self.read("Cargo.lock")?;
                self.write("Cargo.lock", &(text + &addition("Cargo.lock", number)))?;
                "a line in Cargo.lock".to_owned()
            }
            _ => {
                let file = COMERS[random.usize(..COMERS.len())];
                let path = self.path().join(file);
                match path.exists() {
                    true => fs::remove_file(&path)?,
                    false => self.write(file, &addition(file, number))?,
                }
                format!("{file} came or went")
            }
        };
        duct::cmd!("git", "add", "--all").dir(self.path()).run()?;
        Ok(what)
    }

    /// Evaluates the files in full, in a different way from the command: without git, without the
    /// workspace's flake, and with programs found by their units.
    fn evaluate(&self) -> Result<Paths> {
        let copy = tempfile::tempdir()?;
        // No store path depends on this name.
        let source = copy.path().join("source");
        duct::cmd!("cp", "-rT", self.path(), &source).run()?;
        fs::remove_dir_all(source.join(".git"))?;
        if source.join(".crateyard").exists() {
            fs::remove_dir_all(source.join(".crateyard"))?;
        }
        let expression = format!(
            "let made = (builtins.getFlake \"git+file://{}\").lib.mkImages {{ src = {}; }}; \
             path = it: builtins.unsafeDiscardStringContext it.outPath; in {{ \
             images = builtins.mapAttrs (_: path) made.images; \
             checks = builtins.mapAttrs (_: builtins.mapAttrs (_: path)) made.checks; \
             units = builtins.mapAttrs (_: path) made.units; }}",
            self._crateyard.path().display(),
            source.display()
        );
        let text = nix::nix(&["eval", "--impure", "--json", "--expr", &expression])?;
        serde_json::from_str(&text).context("nix eval printed something else than paths")
    }

    fn affected(&self) -> Result<Affected> {
        let text = duct::cmd!(assemble(), "affected", "--since", "HEAD", "--json")
            .dir(self.path())
            .env("NIX_CONFIG", nix::configuration())
            .stderr_null()
            .read()?;
        serde_json::from_str(&text).context("assemble affected printed something else")
    }
}

/// The store paths of an evaluation.
#[derive(Deserialize)]
struct Paths {
    images: BTreeMap<String, String>,
    checks: BTreeMap<String, BTreeMap<String, String>>,
    units: BTreeMap<String, String>,
}

impl Paths {
    fn checks(&self) -> BTreeMap<String, &String> {
        let all = self.checks.iter().flat_map(|(package, kinds)| {
            kinds
                .iter()
                .map(move |(kind, path)| (format!("{package}-{kind}"), path))
        });
        all.collect()
    }

    /// Maps each program to the store path of the unit that links it. The unit's key contains
    /// `-bin-NAME-`.
    fn programs(&self) -> BTreeMap<String, &String> {
        let program = |key: &str| {
            key.split_once("-bin-")
                .map(|(_, rest)| rest.split('-').next().unwrap_or(rest).to_owned())
        };
        self.units
            .iter()
            .filter_map(|(key, path)| Some((program(key)?, path)))
            .collect()
    }
}

/// The output of the command.
#[derive(Deserialize, Debug)]
struct Affected {
    images: BTreeSet<String>,
    binaries: Vec<Binary>,
    tests: BTreeSet<String>,
    checks: BTreeSet<String>,
}

#[derive(Deserialize, Debug)]
struct Binary {
    name: String,
}

/// Returns the names with new paths.
fn changed<P: PartialEq>(
    before: &BTreeMap<String, P>,
    after: &BTreeMap<String, P>,
) -> BTreeSet<String> {
    let differs = after
        .iter()
        .filter(|(name, path)| before.get(*name) != Some(*path));
    differs.map(|(name, _)| name.clone()).collect()
}

fn any_edit() -> Result<()> {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let count = variable(HOW_MANY).unwrap_or(EDITS as u64) as usize;
    let seed = variable(SEED).unwrap_or_else(|| fastrand::u64(..));
    let first = variable(FIRST).unwrap_or(0) as usize;
    ensure!(
        first < count,
        "{FIRST} is {first}, and there are {count} edits"
    );
    println!("affected: edits {first} to {}, {SEED}={seed}", count - 1);
    let mut random = fastrand::Rng::with_seed(seed);
    let shop = Shop::new()?;
    for number in 0..first {
        shop.edit(&mut random, number)?;
        commit_all(shop.path())?;
    }
    let count = count - first;
    let mut before = shop.evaluate()?;
    let (mut touching, mut named) = (0, 0);
    for number in first..first + count {
        let what = shop.edit(&mut random, number)?;
        let after = shop.evaluate()?;
        let found = shop.affected().with_context(|| what.clone())?;
        let checks = changed(&before.checks(), &after.checks());
        let tests: BTreeSet<String> = checks
            .iter()
            .filter_map(|check| check.strip_suffix("-test").map(str::to_owned))
            .collect();
        let binaries: BTreeSet<String> =
            found.binaries.iter().map(|one| one.name.clone()).collect();
        for (kind, found, expected) in [
            (
                "images",
                &found.images,
                changed(&before.images, &after.images),
            ),
            (
                "binaries",
                &binaries,
                changed(&before.programs(), &after.programs()),
            ),
            ("checks", &found.checks, checks),
            ("tests", &found.tests, tests),
        ] {
            ensure!(
                *found == expected,
                "edit {number} ({what}), {SEED}={seed}: {kind} are {found:?}, and other store \
                 paths have {expected:?}"
            );
            named += expected.len();
        }
        touching += usize::from(!found.checks.is_empty() || !found.images.is_empty());
        commit_all(shop.path())?;
        before = after;
    }
    println!("affected: {touching} of {count} edits touch something, {named} names");
    ensure!(
        (count < FEW || touching > 0) && (count < EDITS || touching < count),
        "{touching} of {count} edits touch something"
    );
    Ok(())
}
