//! The recording as a page.

use super::Step;
use std::fmt::Write;
use std::time::Duration;

const HEAD: &str = "# The first image, recorded

    cargo run -p e2e --bin first-image -- --assemble FILE    # as root; writes this page

The command types the lines of the [README](../README.md) on a machine with an empty `/nix` and an
empty home, where Nix, git, podman, a C compiler and the locked Rust toolchain are installed. `FILE`
is the static `assemble` of a release, `nix build .#assemble-static`. The times are of one run on
two cores. `--crateyard` names a checkout, so that the recording needs no access to GitHub. A test
types the same lines, without the times (`tests/src/first_image.rs`).
";

/// Returns the page: each line, its output, and its time.
pub fn page(steps: &[Step]) -> String {
    let mut text = HEAD.to_owned();
    for step in steps {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n{}:\n\n```text\n$ {}\n{}```\n",
            seconds(step.took),
            shown(&step.line),
            shown(&step.said)
        );
    }
    let total = steps.iter().map(|step| step.took).sum();
    let after_fetch = steps.iter().skip_while(|step| !step.line.contains("build"));
    let after_fetch = after_fetch.map(|step| step.took).sum();
    let _ = write!(
        text,
        "\nAll lines took {}. From `assemble build` to the answer it took {}. `assemble fetch`\n\
         downloads Debian packages, so its time depends on the network.\n",
        seconds(total),
        seconds(after_fetch)
    );
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Removes the paths of the recording machine from a text.
fn shown(text: &str) -> String {
    let repository = super::repository();
    text.replace(&*repository.to_string_lossy(), "/src/crateyard")
}
