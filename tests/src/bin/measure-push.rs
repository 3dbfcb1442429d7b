//! Compares `assemble push` with other tools: the same layout, the same registry, one run.
//!
//!     cargo run --release -p e2e --bin measure-push -- LAYOUT [RUNS [DISTANCE]]
//!
//! Three pushes: *cold* (the registry has nothing), *edit* (one layer, the configuration and the
//! manifest are new), *unchanged*. Every run gets a new registry, and the tools take turns. The
//! output shows medians. One more run through a relay counts the requests and the bytes sent. With
//! a DISTANCE in milliseconds, all runs go through the relay, which delays both directions by that
//! time, because real registries are on other machines. The registry stores in `TMPDIR`. PATH must
//! hold docker-registry, and those of skopeo, crane and oras that are to be compared. `ASSEMBLE`
//! names the command line (`target/release/assemble`).

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

const TAG: &str = "measured";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: measure-push LAYOUT [RUNS [DISTANCE]]";
    let layout = PathBuf::from(arguments.next().context(usage)?);
    let runs: usize = arguments
        .next()
        .map_or(Ok(7), |text| text.parse())
        .context(usage)?;
    let distance = arguments
        .next()
        .map(|text| text.parse())
        .transpose()
        .context(usage)?;
    let distance = distance.map(Duration::from_millis);
    let place = tempfile::tempdir()?;
    let (before, after) = (place.path().join("before"), place.path().join("after"));
    tagged_copy(&layout, &before)?;
    edited_copy(&before, &after)?;
    let tools = tools();
    for scenario in [Scenario::Cold, Scenario::Edit, Scenario::Unchanged] {
        let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
        for _ in 0..runs {
            for tool in &tools {
                let run = scenario.run(tool, &before, &after, distance)?;
                times.entry(tool.name).or_default().push(run.time);
            }
        }
        report(scenario, &tools, &times, &before, &after)?;
    }
    Ok(())
}

/// Prints a line for each tool. Ratios are to the fastest of the others.
fn report(
    scenario: Scenario,
    tools: &[Tool],
    times: &BTreeMap<&str, Vec<Duration>>,
    before: &Path,
    after: &Path,
) -> Result<()> {
    let median = |name: &str| {
        let mut sorted = times[name].clone();
        sorted.sort();
        sorted[sorted.len() / 2]
    };
    let others = tools.iter().filter(|tool| tool.name != "assemble");
    let fastest = others.map(|tool| median(tool.name)).min();
    println!("{scenario:?}");
    for tool in tools {
        let counted = scenario.run(tool, before, after, Some(Duration::ZERO))?;
        let ratio = fastest.map_or(0.0, |fastest| {
            median(tool.name).as_secs_f64() / fastest.as_secs_f64()
        });
        println!(
            "  {:9} {:7.1} ms  {ratio:5.2} of the fastest other  {:3} requests  {:9} bytes sent",
            tool.name,
            median(tool.name).as_secs_f64() * 1000.0,
            counted.requests,
            counted.bytes,
        );
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Cold,
    Edit,
    Unchanged,
}

/// The result of one push.
struct Run {
    time: Duration,
    requests: usize,
    bytes: u64,
}

impl Scenario {
    fn run(
        self,
        tool: &Tool,
        before: &Path,
        after: &Path,
        distance: Option<Duration>,
    ) -> Result<Run> {
        let registry = Registry::start()?;
        let home = tempfile::tempdir()?;
        let relay = distance
            .map(|distance| Relay::start(&registry.address, distance))
            .transpose()?;
        let address = relay
            .as_ref()
            .map_or(&registry.address, |relay| &relay.address);
        if self != Scenario::Cold {
            tool.push(before, address, home.path())?;
        }
        let layout = if self == Scenario::Edit {
            after
        } else {
            before
        };
        let seen = registry.requests()?;
        let sent = || {
            relay
                .as_ref()
                .map_or(0, |relay| relay.bytes.load(Ordering::Relaxed))
        };
        let sent_before = sent();
        let begin = Instant::now();
        tool.push(layout, address, home.path())?;
        let time = begin.elapsed();
        Ok(Run {
            time,
            requests: registry.requests()? - seen,
            bytes: sent() - sent_before,
        })
    }
}

/// A program that pushes.
struct Tool {
    name: &'static str,
    program: PathBuf,
}

fn tools() -> Vec<Tool> {
    let own = std::env::var_os("ASSEMBLE").unwrap_or("target/release/assemble".into());
    let mut tools = vec![Tool {
        name: "assemble",
        program: own.into(),
    }];
    for name in ["skopeo", "crane", "oras"] {
        match which::which(name) {
            Ok(program) => tools.push(Tool { name, program }),
            Err(_) => eprintln!("{name} is not installed: left out"),
        }
    }
    tools
}

impl Tool {
    fn push(&self, layout: &Path, address: &str, home: &Path) -> Result<()> {
        let layout = layout.display();
        let target = format!("{address}/bench/image:{TAG}");
        let words = match self.name {
            "assemble" => format!("push {layout} --to {target}"),
            "skopeo" => {
                format!("copy --dest-tls-verify=false oci:{layout}:{TAG} docker://{target}")
            }
            "crane" => format!("push --insecure {layout} {target}"),
            _ => format!("cp --from-oci-layout --to-plain-http {layout}:{TAG} {target}"),
        };
        let output = Command::new(&self.program)
            .args(words.split(' '))
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {words}: {said}", self.name);
        Ok(())
    }
}

/// An empty registry.
struct Registry {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Registry {
    fn start() -> Result<Registry> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let storage = directory.path().join("storage");
        let config = directory.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: \
             {}}}}}\nhttp: {{addr: {address}}}\n",
            storage.display()
        );
        fs::write(&config, text)?;
        let log = fs::File::create(directory.path().join("log"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(config)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start docker-registry")?;
        let registry = Registry {
            process,
            address,
            directory,
        };
        for _ in 0..500 {
            if TcpStream::connect(&registry.address).is_ok() {
                return Ok(registry);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("docker-registry does not listen on {}", registry.address)
    }

    /// Returns the number of requests in its log.
    fn requests(&self) -> Result<usize> {
        // The registry writes the line after the answer.
        thread::sleep(Duration::from_millis(50));
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        Ok(log
            .lines()
            .filter(|line| line.contains(" HTTP/1.1\" "))
            .count())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Passes connections on, and counts the bytes sent to the registry.
struct Relay {
    address: String,
    bytes: Arc<AtomicU64>,
}

impl Relay {
    fn start(target: &str, distance: Duration) -> Result<Relay> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let bytes = Arc::new(AtomicU64::new(0));
        let (target, counter) = (target.to_owned(), Arc::clone(&bytes));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&target) else {
                    return;
                };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let counter = Arc::clone(&counter);
                let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) else {
                    return;
                };
                thread::spawn(move || hand_on(client, server, &counter, distance));
                thread::spawn(move || hand_on(other, one, &AtomicU64::new(0), distance));
            }
        });
        Ok(Relay { address, bytes })
    }
}

/// Reads and writes in two threads, so that delayed bytes do not hold up the next ones.
fn hand_on(mut from: TcpStream, mut to: TcpStream, counter: &AtomicU64, distance: Duration) {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<(Instant, Vec<u8>)>(1024);
    let writer = thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        counter.fetch_add(read as u64, Ordering::Relaxed);
        if sender
            .send((Instant::now() + distance, buffer[..read].to_vec()))
            .is_err()
        {
            break;
        }
    }
    drop(sender);
    let _ = writer.join();
}

/// Copies a layout's only image, under the tag that all tools get.
fn tagged_copy(layout: &Path, copy: &Path) -> Result<()> {
    let status = Command::new("cp")
        .args(["-rL", "--no-preserve=mode"])
        .arg(layout)
        .arg(copy)
        .status()?;
    ensure!(status.success(), "cannot copy {}", layout.display());
    let index: Value = read(&copy.join("index.json"))?;
    let descriptor = &index["manifests"][0];
    write_index(copy, descriptor)
}

/// Copies the same image with a new layer of the same size, as after an edit of a program.
fn edited_copy(layout: &Path, copy: &Path) -> Result<()> {
    tagged_copy(layout, copy)?;
    let index: Value = read(&copy.join("index.json"))?;
    let mut manifest: Value = read(&blob(copy, &index["manifests"][0])?)?;
    let mut config: Value = read(&blob(copy, &manifest["config"])?)?;
    let last = manifest["layers"]
        .as_array()
        .map_or(0, Vec::len)
        .checked_sub(1)
        .context("no layers")?;
    let size = manifest["layers"][last]["size"]
        .as_u64()
        .context("no size")?;
    let work = copy.with_extension("work");
    fs::create_dir(&work)?;
    let script = format!(
        "head -c {size} /dev/urandom >program && tar -cf layer.tar program && gzip -nk1 layer.tar \
         && sha256sum layer.tar | cut -d' ' -f1"
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .current_dir(&work)
        .output()?;
    let diff_id = String::from_utf8(output.stdout)?;
    config["rootfs"]["diff_ids"][last] = json!(format!("sha256:{}", diff_id.trim()));
    manifest["layers"][last] = add(
        copy,
        "application/vnd.oci.image.layer.v1.tar+gzip",
        &fs::read(work.join("layer.tar.gz"))?,
    )?;
    manifest["config"] = add(
        copy,
        "application/vnd.oci.image.config.v1+json",
        config.to_string().as_bytes(),
    )?;
    let descriptor = add(
        copy,
        "application/vnd.oci.image.manifest.v1+json",
        manifest.to_string().as_bytes(),
    )?;
    write_index(copy, &descriptor)
}

fn write_index(layout: &Path, descriptor: &Value) -> Result<()> {
    let mut descriptor = descriptor.clone();
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": TAG});
    let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor]});
    Ok(fs::write(layout.join("index.json"), index.to_string())?)
}

fn add(layout: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let file = layout.join("blobs/sha256/new");
    fs::write(&file, bytes)?;
    let output = Command::new("sha256sum").arg(&file).output()?;
    let text = String::from_utf8(output.stdout)?;
    let hex = text.split(' ').next().context("sha256sum says nothing")?;
    fs::rename(&file, layout.join("blobs/sha256").join(hex))?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()}))
}

fn blob(layout: &Path, descriptor: &Value) -> Result<PathBuf> {
    let digest = descriptor["digest"].as_str().context("no digest")?;
    Ok(layout.join("blobs").join(digest.replace(':', "/")))
}

fn read(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}
