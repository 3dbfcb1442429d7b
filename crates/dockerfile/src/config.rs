//! Writes the instructions for an image's configuration.

use std::fmt::Write;

use super::text::{docker_word, exec_form, has_lines, is_plain, volumes_form};
use crateyard_description::normal::{Config, Healthcheck};

/// Returns the instructions for the configuration of an image. `version` is its main tag.
pub(super) fn instructions(config: &Config, version: &str) -> String {
    let mut out = String::new();
    for (argument, _) in lines_of(config) {
        let _ = writeln!(out, "ARG {argument}");
    }
    for (number, variable) in config.env.iter().enumerate() {
        let value = word_or_argument(&variable.value, &lines_argument("ENV", number));
        let _ = writeln!(out, "ENV {}={value}", label_name(&variable.name));
    }
    if let Some(directory) = &config.working_dir {
        let directory = match is_plain(directory) {
            true => directory.clone(),
            false => docker_word(directory),
        };
        let _ = writeln!(out, "WORKDIR {directory}");
    }
    if let Some(user) = &config.user {
        let _ = writeln!(out, "USER {user}");
    }
    if !config.exposed_ports.is_empty() {
        let ports: Vec<String> = config
            .exposed_ports
            .iter()
            .map(ToString::to_string)
            .collect();
        let _ = writeln!(out, "EXPOSE {}", ports.join(" "));
    }
    if !config.volumes.is_empty() {
        let _ = writeln!(out, "VOLUME {}", volumes_form(&config.volumes));
    }
    if let Some(signal) = &config.stop_signal {
        let _ = writeln!(out, "STOPSIGNAL {signal}");
    }
    if let Some(check) = &config.healthcheck {
        out += &healthcheck(check);
    }
    if let Some(entrypoint) = &config.entrypoint {
        let _ = writeln!(out, "ENTRYPOINT {}", exec_form(entrypoint));
    }
    if let Some(command) = &config.cmd {
        let _ = writeln!(out, "CMD {}", exec_form(command));
    }
    out + &labels(config, version)
}

/// Returns values with several lines, which no instruction can hold, with the names of their build
/// arguments. The bake file passes them.
pub(super) fn lines_of(config: &Config) -> Vec<(String, &str)> {
    let env = config.env.iter().map(|variable| variable.value.as_str());
    let env = env
        .enumerate()
        .map(|(number, value)| (lines_argument("ENV", number), value));
    let labels = config.labels.values().map(String::as_str).enumerate();
    let labels = labels.map(|(number, value)| (lines_argument("LABEL", number), value));
    env.chain(labels)
        .filter(|(_, value)| has_lines(value))
        .collect()
}

fn lines_argument(kind: &str, number: usize) -> String {
    format!("LINES_{kind}_{}", number + 1)
}

fn word_or_argument(value: &str, argument: &str) -> String {
    match has_lines(value) {
        true => format!("\"${{{argument}}}\""),
        false => docker_word(value),
    }
}

/// Returns the instruction for the labels. It comes last and takes the version from an argument, so
/// a new version only changes the configuration.
fn labels(config: &Config, version: &str) -> String {
    if config.labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = config
        .labels
        .iter()
        .enumerate()
        .map(|(number, (name, value))| match name.as_str() {
            "org.opencontainers.image.version" if value == version => {
                format!("{name}=\"${{VERSION}}\"")
            }
            _ => {
                let value = word_or_argument(value, &lines_argument("LABEL", number));
                format!("{}={value}", label_name(name))
            }
        })
        .collect();
    format!("ARG VERSION\nLABEL {}\n", labels.join(" \\\n      "))
}

fn label_name(name: &str) -> String {
    match name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
    {
        true => name.to_string(),
        false => docker_word(name),
    }
}

fn healthcheck(check: &Healthcheck) -> String {
    let Some((_, command)) = check.test.split_first().filter(|(kind, _)| *kind == "CMD") else {
        return "HEALTHCHECK NONE\n".to_string();
    };
    let mut out = String::from("HEALTHCHECK");
    let times = [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start-period", check.start_period),
    ];
    for (name, nanoseconds) in times {
        if let Some(nanoseconds) = nanoseconds {
            let _ = write!(out, " --{name}={}ms", nanoseconds / 1_000_000);
        }
    }
    if let Some(retries) = check.retries {
        let _ = write!(out, " --retries={retries}");
    }
    format!("{out} CMD {}\n", exec_form(command))
}
