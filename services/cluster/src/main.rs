//! The entrypoint of a node image: starts k3s if the image has it, otherwise the gateway and its
//! supervisors from the image's own bundle.

mod archive;
mod bundle;
mod elf;
mod files;
mod health;
mod k3s;
mod node;
mod options;
mod processes;
mod program;
mod rooted;
mod state;
#[cfg(test)]
mod testing;
mod unpack;

use std::process::ExitCode;

use clap::Parser;
use options::{Action, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<u8> {
    options.logs.start()?;
    match &options.action {
        None => start(options).map(|()| 0),
        Some(Action::Health) => health::check(&options.node).map(|()| 0),
        Some(Action::Workload(workload)) => block_on(workload.run(&["workload"])),
    }
}

fn start(options: &Options) -> anyhow::Result<()> {
    let bundle = bundle::Bundle::read(&options.node.bundle)?;
    match k3s::find(&options.node)? {
        // There must be no threads yet: k3s takes this process over.
        Some(k3s) => k3s::start(&k3s, &options.node, &bundle),
        None => block_on(node::run(options, &bundle)),
    }
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let done = runtime.block_on(work);
    // Does not wait for an unpacking that a signal made useless.
    runtime.shutdown_background();
    done
}
