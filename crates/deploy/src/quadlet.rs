//! The services that podman's systemd generator makes of Quadlet units, and the files that they
//! share.
//! <https://docs.podman.io/en/latest/markdown/podman-systemd.unit.5.html>

/// A unit, or a file that one reads: its name without directories, and its text.
pub type File<'a> = (&'a str, &'a str);

/// Returns the service that the generator makes from a unit, as `systemctl` takes it, or `None` for
/// files that are not units and for units that others start. A template has the pattern of its
/// running instances.
pub fn service((name, text): File<'_>) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let suffix = match ending {
        "container" | "kube" => "",
        "pod" => "-pod",
        "image" => "-image",
        "build" => "-build",
        _ => return None,
    };
    let given = values(text, "ServiceName").next_back();
    let service = given.map_or_else(|| format!("{stem}{suffix}"), str::to_owned);
    Some(match service.ends_with('@') {
        true => format!("{service}*.service"),
        false => format!("{service}.service"),
    })
}

/// Returns the services to restart if a file has changed: its own, then those of the units among
/// `all` that read it.
pub fn services(changed: &str, all: &[File<'_>]) -> Vec<String> {
    let own = all.iter().filter(|(name, _)| *name == changed);
    let readers = all.iter().filter(|(_, text)| reads(text, changed));
    own.chain(readers)
        .filter_map(|file| service(*file))
        .collect()
}

/// Whether a unit names a file: the unit of its image, or Kubernetes YAML that it plays.
pub fn reads(unit: &str, file: &str) -> bool {
    let is_unit = file.ends_with(".image") || file.ends_with(".build");
    let keys: &[&str] = if is_unit {
        &["Image"]
    } else {
        &["Yaml", "ConfigMap"]
    };
    let mut named = keys.iter().flat_map(|key| values(unit, key));
    named.any(|value| value.strip_prefix("./").unwrap_or(value) == file)
}

/// Returns the values of a key, in all sections.
fn values<'a>(unit: &'a str, key: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
    unit.lines().filter_map(move |line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_the_generators_names() {
        for (name, text, expected) in [
            ("a.container", "", Some("a.service")),
            ("a.kube", "", Some("a.service")),
            ("a.pod", "", Some("a-pod.service")),
            ("a.image", "", Some("a-image.service")),
            ("a.volume", "", None),
            ("a.yaml", "", None),
            ("a.pod", "[Pod]\nServiceName=front\n", Some("front.service")),
            (
                "a.pod",
                "[Pod]\n# ServiceName=front\n",
                Some("a-pod.service"),
            ),
            (
                "a.container",
                "ServiceName = b\nServiceName=c",
                Some("c.service"),
            ),
            ("a@.container", "", Some("a@*.service")),
            ("a@b.container", "", Some("a@b.service")),
        ] {
            assert_eq!(service((name, text)).as_deref(), expected, "{name}: {text}");
        }
    }

    #[test]
    fn a_file_is_read_by_those_that_name_it() {
        let all = [
            ("a.container", "[Container]\nImage=it.image\n"),
            ("b.container", "[Container]\nImage=other.image\n"),
            ("it.image", "[Image]\nImage=localhost/it\n"),
            ("p.kube", "[Kube]\nYaml=./play.yaml\nConfigMap=map.yaml\n"),
        ];
        assert_eq!(
            services("it.image", &all),
            ["it-image.service", "a.service"]
        );
        assert_eq!(services("b.container", &all), ["b.service"]);
        assert_eq!(services("play.yaml", &all), ["p.service"]);
        assert_eq!(services("map.yaml", &all), ["p.service"]);
        assert!(services("it.yaml", &all).is_empty());
    }
}
