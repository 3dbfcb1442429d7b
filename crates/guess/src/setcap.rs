//! Reads the capabilities that a Dockerfile's `setcap` gives programs.

use std::collections::{BTreeMap, BTreeSet};

use crateyard_spec::CAPABILITY_NAMES;

/// The capabilities of programs, by the programs' names.
pub(crate) type Capabilities = BTreeMap<String, BTreeSet<String>>;

/// Reads the calls in a command: `setcap 'cap_net_bind_service=+ep' /usr/bin/app`. Only reads those
/// that make capabilities permitted and effective, because `images.toml` can't express others.
pub(crate) fn read(command: &str, found: &mut Capabilities) {
    let separators = |c: char| c.is_whitespace() || "\"';&|()[]".contains(c);
    let mut words = command.split(separators).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if word != "setcap" && !word.ends_with("/setcap") {
            continue;
        }
        let mut arguments = words.by_ref().skip_while(|word| word.starts_with('-'));
        let (Some(given), Some(path)) = (arguments.next(), arguments.next()) else {
            return;
        };
        let program = path.rsplit('/').next().unwrap_or(path);
        if let Some(names) = names(given) {
            found.entry(program.to_owned()).or_default().extend(names);
        }
    }
}

/// Returns the names in `cap_a,cap_b=+ep`.
fn names(given: &str) -> Option<Vec<String>> {
    let (names, flags) = given.split_once(['=', '+'])?;
    let flags: BTreeSet<char> = flags.trim_start_matches('+').chars().collect();
    if flags != ['e', 'p'].into() {
        return None;
    }
    let names = names.split(',').map(str::to_ascii_lowercase);
    let known = |name: String| CAPABILITY_NAMES.contains(&name.as_str()).then_some(name);
    names.map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_people_write_them() {
        for (command, expected) in [
            (
                "setcap cap_net_bind_service=+ep /usr/bin/app",
                "cap_net_bind_service",
            ),
            (
                "apt-get update && setcap 'CAP_NET_RAW,cap_bpf+ep' \"/bin/app\"",
                "cap_bpf cap_net_raw",
            ),
            (
                "/usr/sbin/setcap -q cap_net_raw=pe app; true",
                "cap_net_raw",
            ),
            ("setcap cap_net_raw=eip /bin/app", ""),
            ("setcap cap_fly=ep /bin/app", ""),
            ("setcap -r /bin/app", ""),
        ] {
            let mut found = Capabilities::new();
            read(command, &mut found);
            let names = found.remove("app").unwrap_or_default();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(names.join(" "), expected, "{command}");
        }
    }
}
