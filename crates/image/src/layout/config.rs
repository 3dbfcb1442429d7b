//! The image configuration: the specification's settings over those of the base image.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_oci::{
    EmptyObject, ExecutionConfig, HealthcheckConfig, History, ImageConfig, RootFs, annotation,
};
use crateyard_text::time::rfc3339;

use super::{Base, Layer};
use crate::spec::{self, Config, ImageSpec};
use crate::{Error, Result};

/// The command in the history that made a layer.
const CREATED_BY: &str = "crateyard image layer";

pub(super) fn merge(
    spec: &ImageSpec,
    base: Option<&Base>,
    layers: &[Layer],
) -> Result<ImageConfig> {
    check_annotations(spec)?;
    let created = rfc3339(spec.created);
    let (mut diff_ids, mut history, inherited) = match base {
        Some(base) => (
            base.config.rootfs.diff_ids.clone(),
            complete_history(base),
            base.config.config.clone().unwrap_or_default(),
        ),
        None => Default::default(),
    };
    for layer in layers {
        diff_ids.push(layer.record.diff_id.clone());
        history.push(History {
            created: Some(created.clone()),
            created_by: Some(CREATED_BY.to_owned()),
            comment: Some(layer.record.comment.clone()).filter(|comment| !comment.is_empty()),
            ..History::default()
        });
    }
    Ok(ImageConfig {
        created: Some(created),
        author: None,
        platform: spec.platform.clone(),
        config: Some(execution(&spec.config, inherited)?),
        rootfs: RootFs {
            kind: "layers".to_owned(),
            diff_ids,
        },
        history,
    })
}

/// Returns the base's history. A history has one step for each layer or none at all, so a base
/// without one gets blank steps.
fn complete_history(base: &Base) -> Vec<History> {
    let steps = base.config.history.clone();
    let layers = base.config.rootfs.diff_ids.len();
    let with_layer = steps.iter().filter(|step| step.empty_layer != Some(true));
    if with_layer.count() == layers {
        steps
    } else {
        vec![History::default(); layers]
    }
}

fn execution(spec: &Config, base: ExecutionConfig) -> Result<ExecutionConfig> {
    check_paths(spec)?;
    let own_entrypoint = spec.entrypoint.is_some();
    let inherited_cmd = if own_entrypoint { None } else { base.cmd };
    Ok(ExecutionConfig {
        user: spec.user.clone().or(base.user),
        exposed_ports: Some(joined(
            base.exposed_ports,
            spec.exposed_ports.iter().map(ToString::to_string),
        )),
        env: Some(environment(base.env.unwrap_or_default(), spec)?),
        entrypoint: spec.entrypoint.clone().or(base.entrypoint),
        cmd: spec.cmd.clone().or(inherited_cmd),
        volumes: Some(joined(base.volumes, spec.volumes.iter().cloned())),
        working_dir: spec.working_dir.clone().or(base.working_dir),
        labels: Some(labels(base.labels.unwrap_or_default(), spec)?),
        stop_signal: stop_signal(spec)?.or(base.stop_signal),
        args_escaped: base.args_escaped,
        healthcheck: healthcheck(spec)?.or(base.healthcheck),
        shell: base.shell,
        on_build: base.on_build,
    })
}

type Set = BTreeMap<String, EmptyObject>;

fn joined(base: Option<Set>, own: impl Iterator<Item = String>) -> Set {
    let mut all = base.unwrap_or_default();
    all.extend(own.map(|key| (key, EmptyObject {})));
    all
}

/// Returns the base's variables in their order, with new values, followed by the new variables in
/// theirs.
fn environment(mut all: Vec<String>, spec: &Config) -> Result<Vec<String>> {
    let mut names = BTreeSet::new();
    for (number, variable) in spec.env.iter().enumerate() {
        let name = &variable.name;
        let wrong = |problem: String| {
            let at = format!("config.env[{number}]");
            Error::spec(at, problem, "correct or drop it")
        };
        if name.is_empty() || name.contains(['=', '\0']) || variable.value.contains('\0') {
            return Err(wrong(format!("{name:?} can't be an environment variable")));
        }
        if !names.insert(name) {
            return Err(wrong(format!("{name:?} is set twice")));
        }
        let assignment = format!("{name}={}", variable.value);
        let same_name = |other: &&mut String| {
            let prefix = other.split('=').next();
            prefix == Some(name.as_str())
        };
        match all.iter_mut().find(same_name) {
            Some(place) => *place = assignment,
            None => all.push(assignment),
        }
    }
    Ok(all)
}

fn labels(mut all: BTreeMap<String, String>, spec: &Config) -> Result<BTreeMap<String, String>> {
    if spec.labels.contains_key("") {
        return Err(Error::spec(
            "config.labels",
            "a label has no name",
            "name it",
        ));
    }
    all.extend(spec.labels.clone());
    Ok(all)
}

fn check_annotations(spec: &ImageSpec) -> Result<()> {
    for reserved in [annotation::REF_NAME, annotation::CONTAINERD_NAME, ""] {
        if spec.annotations.contains_key(reserved) {
            return Err(Error::spec(
                "annotations",
                format!("{reserved:?} can't be set"),
                "what an image is called is said by references",
            ));
        }
    }
    Ok(())
}

fn check_paths(spec: &Config) -> Result<()> {
    let volumes = spec.volumes.iter().map(|path| ("config.volumes", path));
    let directory = spec
        .working_dir
        .iter()
        .map(|path| ("config.workingDir", path));
    for (at, path) in volumes.chain(directory) {
        if !path.starts_with('/') || path.contains('\0') {
            let problem = format!("{path:?} is not an absolute path");
            return Err(Error::spec(
                at,
                problem,
                "write one such as /var/lib/gateway",
            ));
        }
    }
    Ok(())
}

fn stop_signal(spec: &Config) -> Result<Option<String>> {
    let Some(signal) = &spec.stop_signal else {
        return Ok(None);
    };
    let named = signal.strip_prefix("SIG").is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|byte| {
                byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"+-".contains(&byte)
            })
    });
    let numbered = signal
        .parse::<u8>()
        .is_ok_and(|number| (1..=64).contains(&number));
    if named || numbered {
        return Ok(Some(signal.clone()));
    }
    Err(Error::spec(
        "config.stopSignal",
        format!("{signal:?} is not a signal"),
        "write a name such as SIGTERM or a number",
    ))
}

fn healthcheck(spec: &Config) -> Result<Option<HealthcheckConfig>> {
    let Some(check) = &spec.healthcheck else {
        return Ok(None);
    };
    check_test(check)?;
    Ok(Some(HealthcheckConfig {
        test: Some(check.test.clone()),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }))
}

fn check_test(check: &spec::Healthcheck) -> Result<()> {
    let wrong = |problem: String| {
        let remedy = "write [\"CMD\", PROGRAM, …], [\"CMD-SHELL\", COMMAND] or [\"NONE\"]";
        Error::spec("config.healthcheck.test", problem, remedy)
    };
    let arguments = check.test.len().saturating_sub(1);
    match check.test.first().map(String::as_str) {
        Some("CMD") if arguments > 0 => {}
        Some("CMD-SHELL") if arguments == 1 => {}
        Some("NONE") if arguments == 0 => {}
        _ => return Err(wrong(format!("{:?} is not a check", check.test))),
    }
    // Docker refuses durations between 0 and a millisecond.
    let durations = [
        check.interval,
        check.timeout,
        check.start_period,
        check.start_interval,
    ];
    if durations
        .iter()
        .flatten()
        .any(|&nanoseconds| (1..1_000_000).contains(&nanoseconds))
    {
        return Err(Error::spec(
            "config.healthcheck",
            "a duration is less than a millisecond",
            "durations are in nanoseconds: 30 s is 30000000000",
        ));
    }
    Ok(())
}
