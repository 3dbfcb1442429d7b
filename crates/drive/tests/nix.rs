//! Tests of the driver with a real Nix, in a separate store.

use crateyard_drive::build_record::Outcome;
use crateyard_drive::driver::{Context, Driver, Report, Settings, Sharing};
use crateyard_drive::durations::Durations;
use crateyard_drive::event::Event;
use crateyard_drive::schedule::Order;
use crateyard_drive::serve::Launch;
use crateyard_nix::{Closure, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The builder is the machine's shell. These tests are only about which builds start, and when.
const SETTINGS: &str = "\
experimental-features = nix-command flakes
sandbox = true
sandbox-paths = /bin=/usr/bin /usr /lib=/usr/lib /lib64=/usr/lib64
substituters =
require-sigs = false
";

/// A store in a temporary directory.
struct Place {
    directory: tempfile::TempDir,
    config: String,
}

impl Place {
    /// Makes a store. `None`, with a message, if Nix can't build in a separate store.
    fn new(test: &str) -> Option<Self> {
        let place = Self {
            directory: tempfile::tempdir().unwrap(),
            config: SETTINGS.to_owned(),
        };
        let trial = place.instantiate(r#"{ trial = make "trial" "echo > $out" []; }"#, "trial");
        let problem = match trial {
            Ok(path) => place.realise(&path).err(),
            Err(problem) => Some(problem),
        };
        if let Some(problem) = problem {
            eprintln!("SKIPPED: {test}: Nix can't build here: {problem}");
            return None;
        }
        Some(place)
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn nix(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .env("NIX_CONFIG", &self.config)
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Instantiates an attribute of a set. In the set, `make NAME SCRIPT INPUTS` is a derivation.
    fn instantiate(&self, set: &str, attribute: &str) -> Result<String, String> {
        let expression = format!(
            r#"let make = name: script: inputs: derivation {{
                inherit name inputs;
                system = builtins.currentSystem;
                builder = "/bin/sh";
                args = [ "-c" script ];
            }}; in rec {set}"#
        );
        let store = self.store();
        let arguments = [
            "--store",
            path(&store),
            "--expr",
            &expression,
            "-A",
            attribute,
        ];
        self.nix("nix-instantiate", &arguments)
    }

    fn realise(&self, derivation: &str) -> Result<String, String> {
        let store = self.store();
        self.nix(
            "nix-store",
            &["--store", path(&store), "--realise", derivation],
        )
    }

    fn settings(&self) -> Settings {
        Settings {
            launch: Launch {
                program: "nix-store".into(),
                store: Store::new(Some(path(&self.store()).to_owned())),
                config: self.config.clone(),
                is_direct: true,
                ..Launch::default()
            },
            jobs: 2,
            cores: 2,
            sharing: Sharing::Even,
            order: Order::LongestPath,
            keep_going: false,
            has_caches: false,
        }
    }

    fn build(
        &self,
        settings: &Settings,
        root: &str,
    ) -> (crateyard_drive::Result<Report>, Vec<Event>) {
        let mut events = Vec::new();
        let mut context = Context {
            beginning: Instant::now(),
            durations: &mut Durations::default(),
            previous: &BTreeMap::new(),
            interrupted: &AtomicBool::new(false),
            observe: &mut |event| events.push(event.clone()),
        };
        let result = Driver::start(settings.clone()).and_then(|mut driver| {
            let closure = Closure::read(&settings.launch.store, &[root.to_owned()])?;
            driver.build(&closure, &mut context)
        });
        (result, events)
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn started(events: &[Event]) -> Vec<&str> {
    let names = events.iter().filter_map(|event| match event {
        Event::Started { name, .. } => Some(name.as_str()),
        _ => None,
    });
    names.collect()
}

/// `top` needs `left` and `right`, which need `low`; `other` stands alone.
const DIAMOND: &str = r#"{
    low = make "low" "echo low > $out" [ ];
    left = make "left" "echo left > $out" [ low ];
    right = make "right" "echo right $NIX_BUILD_CORES > $out" [ low ];
    top = make "top" "echo top > $out" [ left right ];
}"#;

/// Returns a set with a library and a unit for its metadata, which `above` needs, and a program.
/// Unlike here, both ways to real metadata give the same bytes.
fn pipelined() -> String {
    let unit = |metadata_only: bool| {
        let action = serde_json::json!({
            "kind": "compile",
            "program": "rustc",
            "args": ["--crate-name", "low"],
            "outDir": "/target/deps",
            "target": { "kind": "lib", "name": "low" },
            "buildScript": null,
            "native": [],
            "takesLinkLibs": true,
            "metadataOnly": metadata_only,
        });
        let unit = serde_json::json!({
            "version": crateyard_unit::FORMAT,
            "name": "low",
            "sourceDir": "/low",
            "cwd": "/",
            "env": {},
            "action": action,
        });
        format!("''{unit}''")
    };
    format!(
        r#"{{
            unitOf = name: unit: derivation {{
                inherit name unit;
                source = "/low.crate";
                inputs = [ ];
                system = builtins.currentSystem;
                builder = "/bin/sh";
                args = [ "-c" ''
                    case $name in *-metadata) it=made ;; *) it=low ;; esac
                    if test -n "$whole"; then read -r from < "$whole"; it="taken from $from"; fi
                    echo "$it" > $out
                '' ];
            }};
            metadata = unitOf "low-1.0.0-metadata" {};
            low = unitOf "low-1.0.0" {};
            above = make "above" "read -r it < $inputs; echo above $it > $out" [ metadata ];
            program = make "program" "set -- $inputs; read -r it < $1; echo $it > $out"
                [ above low ];
        }}"#,
        unit(true),
        unit(false),
    )
}

/// A build without a measurement is expected to take half a second.
#[test]
fn no_time_is_promised_for_a_build_that_takes_longer_than_expected() {
    let test = "no_time_is_promised_for_a_build_that_takes_longer_than_expected";
    let Some(place) = Place::new(test) else {
        return;
    };
    let set = r#"{ slow = make "slow" "/bin/sleep 3; echo > $out" [ ]; }"#;
    let slow = place.instantiate(set, "slow").unwrap();
    let (result, events) = place.build(&place.settings(), &slow);
    assert!(result.unwrap().is_complete());
    let progress = events.iter().filter_map(|event| match event {
        Event::Progress { left, overdue, .. } => Some((*left, *overdue)),
        _ => None,
    });
    let progress: Vec<(f64, bool)> = progress.collect();
    assert!(progress[0].0 > 0.0 && !progress[0].1, "{progress:?}");
    assert_eq!(progress.last(), Some(&(0.0, true)));
}

#[test]
fn metadata_is_taken_from_the_library_where_no_core_is_free() {
    let Some(place) = Place::new("metadata_is_taken_from_the_library_where_no_core_is_free") else {
        return;
    };
    let program = place.instantiate(&pipelined(), "program").unwrap();
    let mut settings = place.settings();
    settings.jobs = 1;
    let (result, events) = place.build(&settings, &program);
    let report = result.unwrap();
    assert!(report.is_complete());
    assert_eq!(
        started(&events),
        ["low-1.0.0", "low-1.0.0-metadata", "above", "program"]
    );
    let output = settings.launch.store.physical(&report.outputs[0][0]);
    let text = std::fs::read_to_string(output).unwrap();
    assert_eq!(text, "above taken from low\n");
}

#[test]
fn metadata_is_made_where_cores_are_free_and_where_nix_trusts_nobody() {
    let test = "metadata_is_made_where_cores_are_free_and_where_nix_trusts_nobody";
    for (jobs, is_direct) in [(4, true), (1, false)] {
        let Some(place) = Place::new(test) else {
            return;
        };
        let program = place.instantiate(&pipelined(), "program").unwrap();
        let mut settings = place.settings();
        settings.jobs = jobs;
        settings.launch.is_direct = is_direct;
        let (result, events) = place.build(&settings, &program);
        let report = result.unwrap();
        assert_eq!(started(&events)[0], "low-1.0.0-metadata");
        let output = settings.launch.store.physical(&report.outputs[0][0]);
        let text = std::fs::read_to_string(output).unwrap();
        assert_eq!(text, "above made\n");
    }
}

#[test]
fn what_is_missing_is_built_once_and_in_order() {
    let Some(place) = Place::new("what_is_missing_is_built_once_and_in_order") else {
        return;
    };
    let top = place.instantiate(DIAMOND, "top").unwrap();
    let (result, events) = place.build(&place.settings(), &top);
    let report = result.unwrap();
    assert!(report.is_complete());
    let order = started(&events);
    assert_eq!(order.len(), 4);
    assert_eq!((order[0], order[3]), ("low", "top"));
    // Nix itself finds nothing left to do, and prints the same path.
    assert_eq!(place.realise(&top).unwrap(), report.outputs[0][0]);
    // The second time, there is nothing to do.
    let (result, events) = place.build(&place.settings(), &top);
    assert!(result.unwrap().units.is_empty());
    assert_eq!(events, []);
}

#[test]
fn a_build_goes_on_where_nix_stopped() {
    let Some(place) = Place::new("a_build_goes_on_where_nix_stopped") else {
        return;
    };
    let left = place.instantiate(DIAMOND, "left").unwrap();
    place.realise(&left).unwrap();
    let top = place.instantiate(DIAMOND, "top").unwrap();
    let (result, events) = place.build(&place.settings(), &top);
    assert!(result.unwrap().is_complete());
    assert_eq!(started(&events), ["right", "top"]);
}

/// A builder that writes 4 MB into its directory, and prints the directory's file system.
const ROOMY: &str = r#"{
    roomy = make "roomy" ''
        /usr/bin/head -c 4000000 /dev/zero > file || exit 1
        /usr/bin/stat --file-system --format %T . > $out
    '' [ ];
}"#;

/// Makes a store whose builders have `bytes` of memory. Returns `None` if that is impossible.
fn in_memory(test: &str, bytes: u64) -> Option<(Place, Settings)> {
    let place = Place::new(test)?;
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("SKIPPED: {test}: only root can mount");
        return None;
    }
    let mut settings = place.settings();
    settings.launch.memory = Some(bytes);
    Some((place, settings))
}

/// Returns Nix's directories in the memory that this process sees, and the mounts there. Other
/// tests have directories of other names there.
fn seen_in_memory() -> (BTreeSet<String>, usize) {
    let entries = std::fs::read_dir("/dev/shm").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let here = mounts.lines().filter(|line| line.contains(" /dev/shm "));
    let names = names.filter(|name| name.starts_with("nix"));
    (names.collect(), here.count())
}

#[test]
fn builders_work_in_memory_that_nobody_else_sees() {
    let test = "builders_work_in_memory_that_nobody_else_sees";
    let Some((place, settings)) = in_memory(test, 1 << 30) else {
        return;
    };
    let before = seen_in_memory();
    let roomy = place.instantiate(ROOMY, "roomy").unwrap();
    let (result, _) = place.build(&settings, &roomy);
    let report = result.unwrap();
    assert!(report.is_complete());
    let out = settings.launch.store.physical(&report.outputs[0][0]);
    assert_eq!(std::fs::read_to_string(out).unwrap(), "tmpfs\n");
    assert_eq!(seen_in_memory(), before);
}

#[test]
fn a_build_that_runs_out_of_memory_is_done_on_the_disk() {
    let test = "a_build_that_runs_out_of_memory_is_done_on_the_disk";
    let Some((place, settings)) = in_memory(test, 1 << 20) else {
        return;
    };
    let roomy = place.instantiate(ROOMY, "roomy").unwrap();
    let (result, events) = place.build(&settings, &roomy);
    assert!(result.unwrap().is_complete(), "{events:?}");
}

/// `bad` fails with 40 coloured lines; `above` needs it; `good` and `end` do not.
const FAILING: &str = r#"{
    bad = make "bad" ''
        i=0
        while [ $i -lt 40 ]; do i=$((i+1)); printf 'line \033[31m%s\033[0m\n' $i >&2; done
        exit 3
    '' [ ];
    above = make "above" "echo > $out" [ bad ];
    good = make "good" "echo > $out" [ ];
    later = make "later" "echo > $out" [ good ];
    end = make "end" "echo > $out" [ above later ];
}"#;

fn outcomes(report: &Report) -> BTreeMap<&str, Outcome> {
    let units = report.units.iter();
    units
        .map(|unit| (unit.name.as_str(), unit.outcome))
        .collect()
}

#[test]
fn a_failure_is_told_whole_and_stops_what_depends_on_it() {
    let Some(place) = Place::new("a_failure_is_told_whole_and_stops_what_depends_on_it") else {
        return;
    };
    let end = place.instantiate(FAILING, "end").unwrap();
    let keep_going = Settings {
        keep_going: true,
        ..place.settings()
    };
    let (result, events) = place.build(&keep_going, &end);
    let report = result.unwrap();
    use Outcome::{Built, Failed, Skipped};
    let expected = [
        ("above", Skipped),
        ("bad", Failed),
        ("end", Skipped),
        ("good", Built),
        ("later", Built),
    ];
    assert_eq!(outcomes(&report), expected.into());
    let logs: Vec<&String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Failed { log, .. } => Some(log),
            _ => None,
        })
        .collect();
    let lines: Vec<&str> = logs[0].lines().collect();
    assert_eq!(lines.len(), 40);
    assert_eq!(lines[39], "line \u{1b}[31m40\u{1b}[0m");
    let skipped: BTreeSet<&str> = events
        .iter()
        .filter_map(|event| match event {
            Event::Skipped { name, because } if because == "bad" => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, ["above", "end"].into());
}

#[test]
fn without_keep_going_nothing_starts_after_a_failure() {
    let Some(place) = Place::new("without_keep_going_nothing_starts_after_a_failure") else {
        return;
    };
    let end = place.instantiate(FAILING, "end").unwrap();
    let alone = Settings {
        jobs: 1,
        order: Order::Name,
        ..place.settings()
    };
    let (result, events) = place.build(&alone, &end);
    assert_eq!(started(&events), ["bad"]);
    assert_eq!(result.unwrap().count(Outcome::Skipped), 4);
}

#[test]
fn a_cache_is_asked_before_anything_is_built() {
    let Some(mut place) = Place::new("a_cache_is_asked_before_anything_is_built") else {
        return;
    };
    let left = place.instantiate(DIAMOND, "left").unwrap();
    let out = place.realise(&left).unwrap();
    let cache = format!("file://{}", place.directory.path().join("cache").display());
    let from = place.store();
    let copy = ["copy", "--from", path(&from), "--to", &cache, &out];
    place.nix("nix", &copy).unwrap();
    let store = place.directory.path().join("store");
    std::fs::rename(&store, place.directory.path().join("first")).unwrap();
    place.config += &format!("substituters = {cache}\n");

    let top = place.instantiate(DIAMOND, "top").unwrap();
    let settings = Settings {
        has_caches: true,
        ..place.settings()
    };
    let (result, events) = place.build(&settings, &top);
    let report = result.unwrap();
    assert!(report.is_complete());
    let fetched: Vec<(&str, &str)> = report
        .fetched
        .iter()
        .map(|fetch| (fetch.path.as_str(), fetch.from.as_str()))
        .collect();
    assert_eq!(fetched, [(out.as_str(), cache.as_str())]);
    // `left` came from the cache, so `low` is built only for `right`.
    assert_eq!(started(&events), ["low", "right", "top"]);
}

/// Returns a builder that never ends, with a marker in its script.
fn endless(marker: &str) -> String {
    format!(r#"{{ endless = make "endless" ": {marker}; while :; do sleep 1; done" []; }}"#)
}

/// Whether a process with the marker in its arguments is running.
fn runs(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| entry.file_name() != *std::process::id().to_string())
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(marker))
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited for a minute: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interrupt_leaves_no_builder_and_no_lock() {
    let Some(place) = Place::new("an_interrupt_leaves_no_builder_and_no_lock") else {
        return;
    };
    let marker = format!("endless-{}", std::process::id());
    let endless = place.instantiate(&endless(&marker), "endless").unwrap();
    let interrupted = AtomicBool::new(false);
    let settings = place.settings();
    std::thread::scope(|scope| {
        let build = scope.spawn(|| {
            let closure = Closure::read(&settings.launch.store, std::slice::from_ref(&endless))?;
            Driver::start(settings)?.build(
                &closure,
                &mut Context {
                    beginning: Instant::now(),
                    durations: &mut Durations::default(),
                    previous: &BTreeMap::new(),
                    interrupted: &interrupted,
                    observe: &mut |_| {},
                },
            )
        });
        wait_until("the builder starts", || runs(&marker));
        interrupted.store(true, Ordering::Relaxed);
        let error = build.join().unwrap().unwrap_err();
        assert!(
            matches!(error, crateyard_drive::Error::Interrupted),
            "{error}"
        );
    });
    assert!(!runs(&marker), "the builder outlived the interrupt");
    let store = place.store();
    let locks = std::fs::read_dir(store.join("nix/store"))
        .unwrap()
        .flatten();
    let left: Vec<_> = locks
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .ends_with("endless.lock")
        })
        .filter(|entry| is_locked(&entry.path()))
        .collect();
    assert!(left.is_empty(), "locks are held: {left:?}");
}

/// Whether another process holds a lock of the file.
fn is_locked(file: &Path) -> bool {
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(file).unwrap());
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.contains(&format!(":{inode} "))
}
