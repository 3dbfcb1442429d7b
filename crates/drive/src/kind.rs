//! The kinds of derivations that reports show.

use crateyard_nix::Derivation;
use crateyard_unit::{Action, TargetKind, Unit};

/// Returns the kind of a unit's target, `metadata`, `build-script-run`, `download` or `other`.
pub(crate) fn of_derivation(derivation: &Derivation) -> &'static str {
    if derivation.is_download() {
        return "download";
    }
    unit_of(derivation).map_or("other", |unit| of_action(&unit.action))
}

/// Whether it is a unit that runs a build script.
pub(crate) fn is_script_run(derivation: &Derivation) -> bool {
    let unit = unit_of(derivation);
    unit.is_some_and(|unit| matches!(unit.action, Action::RunBuildScript { .. }))
}

/// Returns the kind of a unit's target, `metadata` or `build-script-run`.
pub fn of_action(action: &Action) -> &'static str {
    let Action::Compile {
        target,
        metadata_only,
        ..
    } = action
    else {
        return "build-script-run";
    };
    match target.kind {
        TargetKind::Lib if *metadata_only => "metadata",
        TargetKind::Lib => "lib",
        TargetKind::ProcMacro => "proc-macro",
        TargetKind::Cdylib => "cdylib",
        TargetKind::Bin => "bin",
        TargetKind::Example => "example",
        TargetKind::Test => "test",
        TargetKind::Bench => "bench",
        TargetKind::BuildScript => "build-script",
    }
}

/// Returns the entry of the plan in a unit's derivation.
pub fn unit_of(derivation: &Derivation) -> Option<Unit> {
    serde_json::from_str(derivation.env.get("unit")?).ok()
}
