//! The scenarios. `edit.rs` makes the edit of each, and `expected.rs` says what it may build.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The steps, in the order in which they run.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Nothing of the workspace was ever compiled; the toolchain is present
    Cold,
    /// The same again
    Nothing,
    /// A file that no image needs
    UnrelatedFile,
    /// Code of one service
    FirstService,
    /// Code of another service
    SecondService,
    /// Code that both services use
    SharedCode,
    /// A chart, or another file that an image holds
    File,
    /// A tag in images.toml
    Tag,
    /// A variant in images.toml
    Variant,
    /// The version of the whole workspace
    WorkspaceVersion,
    /// One dependency without dependencies of its own
    LeafBump,
    /// The same commit on a machine that has only a cache
    FreshRunner,
}

impl Scenario {
    /// Returns all scenarios, in order.
    pub fn all() -> impl Iterator<Item = Scenario> {
        Scenario::value_variants().iter().copied()
    }

    /// Returns the label for people.
    pub fn title(self) -> &'static str {
        match self {
            Scenario::Cold => "cold",
            Scenario::Nothing => "nothing changed",
            Scenario::UnrelatedFile => "unrelated file",
            Scenario::FirstService => "edit in one service",
            Scenario::SecondService => "edit in another service",
            Scenario::SharedCode => "edit in shared code",
            Scenario::File => "chart or file edit",
            Scenario::Tag => "tag change",
            Scenario::Variant => "new variant",
            Scenario::WorkspaceVersion => "workspace version bump",
            Scenario::LeafBump => "leaf dependency bump",
            Scenario::FreshRunner => "same commit, fresh runner, cache",
        }
    }
}
