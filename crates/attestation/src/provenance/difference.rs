//! The inputs that differ between two images.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crateyard_spec::{CAPABILITY_ATTRIBUTE, Capabilities};
use crateyard_text::shortened;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;

use super::{BuildInputs, CrateUse, Resource, Revision, Statement};

/// The length of a name, in bytes, below which differences are named part by part, and of a key in
/// it, in characters. A foreign document may have names of megabytes.
const MAX_NAME: usize = 200;

/// An input that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The kind of the input.
    pub kind: Kind,
    /// The input's path, name or place in the description.
    pub name: String,
    /// The old value, or none if the input is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The new value, or none if the input is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// The kinds of inputs, in the order in which people ask for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The image's settings in the description.
    Description,
    /// The profile, features and target of the build by Cargo.
    Profile,
    /// A file of the workspace.
    Source,
    /// A file that was downloaded for a part.
    Download,
    /// A package that npm installed for a part.
    Npm,
    /// The version of a crate.
    Dependency,
    /// The features of a crate.
    Features,
    /// A crate's code generation options or configuration.
    Options,
    /// A variable, or the revision, that the description gives to a crate.
    Declared,
    /// A Debian package of the toolchain.
    Toolchain,
    /// A Debian package that a crate links.
    Library,
    /// A Debian package in the image.
    Package,
    /// The base image.
    Base,
    /// An image that the image holds.
    NestedImage,
    /// A program of the builder itself.
    Builder,
}

/// Returns all inputs that differ, sorted.
pub fn compare(before: &Statement, after: &Statement) -> Vec<Difference> {
    let mut found = Vec::new();
    let definitions = [before, after].map(|it| &it.predicate.build_definition);
    let [old, new] = definitions;
    let parameters = definitions.map(|it| &it.external_parameters);
    let [asked_before, asked_after] = parameters;
    values(
        "",
        Some(&asked_before.image),
        Some(&asked_after.image),
        Kind::Description,
        &mut found,
    );
    let platforms = parameters.map(|it| Value::from(it.platform.as_str()));
    values(
        "platform",
        Some(&platforms[0]),
        Some(&platforms[1]),
        Kind::Description,
        &mut found,
    );
    let builds = parameters.map(|it| settings(&it.build));
    values(
        "",
        Some(&builds[0]),
        Some(&builds[1]),
        Kind::Profile,
        &mut found,
    );
    resources(
        &old.resolved_dependencies,
        &new.resolved_dependencies,
        &mut found,
    );
    let [crates_before, crates_after] = definitions.map(|it| &it.internal_parameters.crates);
    crate_uses(crates_before, crates_after, &mut found);
    let [declared_before, declared_after] = parameters.map(|it| declared(&it.build));
    maps(
        &declared_before,
        &declared_after,
        Kind::Declared,
        &mut found,
    );
    let tools = definitions.map(|it| &it.internal_parameters.tools);
    maps(tools[0], tools[1], Kind::Builder, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Returns the options for Cargo without what is declared for single crates.
fn settings(build: &BuildInputs) -> Value {
    let of_all = BuildInputs {
        crates: BTreeMap::new(),
        ..build.clone()
    };
    serde_json::to_value(&of_all).unwrap_or_default()
}

/// Returns the declared inputs of crates by their place in `images.toml`, below `crates`.
fn declared(build: &BuildInputs) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, inputs) in &build.crates {
        for (variable, value) in &inputs.environment {
            found.insert(format!("{name}.environment.{variable}"), value.clone());
        }
        if let Some(revision) = &inputs.revision {
            found.insert(format!("{name}.revision"), shown(revision));
        }
    }
    found
}

/// Prints a revision for people. Two revisions with the same commit differ in their times.
fn shown(revision: &Revision) -> String {
    let changed = if revision.dirty { " with changes" } else { "" };
    format!("{}{changed} at {}", revision.commit, revision.time)
}

/// Compares objects, and lists whose elements have names or paths, part by part.
fn values(
    at: &str,
    before: Option<&Value>,
    after: Option<&Value>,
    kind: Kind,
    found: &mut Vec<Difference>,
) {
    if before == after {
        return;
    }
    let parts = [before, after].map(|value| value.map_or(Some(BTreeMap::new()), parts));
    let is_deeper = before.is_some() && after.is_some() && at.len() <= MAX_NAME;
    if let ([Some(old), Some(new)], true) = (&parts, is_deeper) {
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let shown = shortened(key, MAX_NAME);
            let inner = match at.is_empty() {
                true => shown.into_owned(),
                false => format!("{at}.{shown}"),
            };
            values(
                &inner,
                old.get(key).copied(),
                new.get(key).copied(),
                kind,
                found,
            );
        }
        return;
    }
    found.push(Difference {
        kind,
        name: at.to_owned(),
        before: before.map(|value| text(at, value)),
        after: after.map(|value| text(at, value)),
    });
}

/// Returns the named parts of a value that has such parts.
fn parts(value: &Value) -> Option<BTreeMap<String, &Value>> {
    match value {
        Value::Object(map) => Some(
            map.iter()
                .map(|(key, value)| (key.clone(), value))
                .collect(),
        ),
        Value::Array(list) if !list.is_empty() => {
            let name = |value: &Value| {
                ["name", "path", "to"]
                    .iter()
                    .find_map(|key| value[key].as_str().map(str::to_owned))
            };
            let named: BTreeMap<String, &Value> = list
                .iter()
                .filter_map(|value| Some((name(value)?, value)))
                .collect();
            (named.len() == list.len()).then_some(named)
        }
        _ => None,
    }
}

/// Prints a value for people. Capabilities are in base 64, which nobody reads.
fn text(at: &str, value: &Value) -> String {
    if at.ends_with(CAPABILITY_ATTRIBUTE) {
        let bytes = value
            .as_str()
            .map(|it| STANDARD.decode(it).unwrap_or_default());
        if let Some(found) = bytes.and_then(|it| Capabilities::read(&it)) {
            return found.to_string();
        }
    }
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn resources(before: &[Resource], after: &[Resource], found: &mut Vec<Difference>) {
    let kinds = [
        ("source", Kind::Source),
        ("download", Kind::Download),
        ("npm", Kind::Npm),
        ("crate", Kind::Dependency),
        ("toolchain", Kind::Toolchain),
        ("library", Kind::Library),
        ("image", Kind::Package),
        ("base", Kind::Base),
        ("nested-image", Kind::NestedImage),
    ];
    for (role, kind) in kinds {
        let [old, new] = [before, after].map(|all| by_name(all, role));
        maps(&old, &new, kind, found);
    }
}

/// Returns the versions by name, or the digest of a resource without a version.
fn by_name(resources: &[Resource], role: &str) -> BTreeMap<String, String> {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let wanted = |it: &&Resource| it.annotations.get("role").is_some_and(|own| own == role);
    for resource in resources.iter().filter(wanted) {
        let (name, version) = name_and_version(resource);
        named.entry(name).or_default().insert(version);
    }
    let joined = named.into_iter();
    joined
        .map(|(name, versions)| (name, versions.into_iter().collect::<Vec<_>>().join(", ")))
        .collect()
}

fn name_and_version(resource: &Resource) -> (String, String) {
    let digest = resource.digest.iter().next();
    let digest = digest.map_or(String::new(), |(algorithm, hex)| {
        format!("{algorithm}:{hex}")
    });
    let purl = resource
        .uri
        .as_deref()
        .and_then(|uri| uri.strip_prefix("pkg:"));
    let Some((name, rest)) = purl.and_then(|purl| purl.split_once('@')) else {
        let executable = resource.annotations.contains_key("executable");
        let mode = if executable { " (executable)" } else { "" };
        return (
            resource.name.clone().unwrap_or_default(),
            format!("{digest}{mode}"),
        );
    };
    // npm's names have a scope, which is a part of them.
    let name = match name.strip_prefix("npm/") {
        Some(name) => name,
        None => name.rsplit('/').next().unwrap_or(name),
    };
    let (version, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
    // Many commits of a git repository have the same version.
    let commit = qualifiers
        .split_once("%23")
        .map_or(String::new(), |(_, commit)| format!(" ({commit})"));
    (
        decode(name).into_owned(),
        format!("{}{commit}", decode(version)),
    )
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

fn maps(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
    kind: Kind,
    found: &mut Vec<Difference>,
) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old != new {
            found.push(Difference {
                kind,
                name: name.clone(),
                before: old.cloned(),
                after: new.cloned(),
            });
        }
    }
}

/// Lists changed features crate by crate, and changed options in one line for all crates that
/// changed alike.
fn crate_uses(
    before: &BTreeMap<String, CrateUse>,
    after: &BTreeMap<String, CrateUse>,
    found: &mut Vec<Difference>,
) {
    let mut options: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for (name, old) in before {
        let Some(new) = after.get(name) else { continue };
        if old.features != new.features {
            found.push(Difference {
                kind: Kind::Features,
                name: name.clone(),
                before: Some(listed(&old.features)),
                after: Some(listed(&new.features)),
            });
        }
        if old.options != new.options {
            let gone = old.options.difference(&new.options).cloned().collect();
            let added = new.options.difference(&old.options).cloned().collect();
            options
                .entry((listed(&gone), listed(&added)))
                .or_default()
                .push(name);
        }
    }
    for ((gone, added), names) in options {
        let name = match &names[..] {
            [one] => (*one).to_owned(),
            many => format!("{} crates", many.len()),
        };
        let given = |text: String| (!text.is_empty()).then_some(text);
        found.push(Difference {
            kind: Kind::Options,
            name,
            before: given(gone),
            after: given(added),
        });
    }
}

fn listed(texts: &BTreeSet<String>) -> String {
    texts
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(before: Value, after: Value) -> Vec<(String, Option<String>, Option<String>)> {
        let mut found = Vec::new();
        values(
            "",
            Some(&before),
            Some(&after),
            Kind::Description,
            &mut found,
        );
        found
            .into_iter()
            .map(|it| (it.name, it.before, it.after))
            .collect()
    }

    #[test]
    fn the_description_is_compared_in_depth() {
        let before =
            json!({"config": {"user": "1", "env": [{"name": "A", "value": "1"}], "ports": ["1"]}});
        let after = json!({"config": {"env": [{"name": "A", "value": "2"}], "ports": ["1", "2"]},
            "x": true});
        let own = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(before, after),
            [
                ("config.env.A.value".to_owned(), own("1"), own("2")),
                (
                    "config.ports".to_owned(),
                    own("[\"1\"]"),
                    own("[\"1\",\"2\"]")
                ),
                ("config.user".to_owned(), own("1"), None),
                ("x".to_owned(), None, own("true")),
            ]
        );
    }

    #[test]
    fn a_files_capabilities_are_compared_by_name() {
        let layer = |xattrs: Value| {
            let source = json!({"to": "/usr/bin/app", "xattrs": xattrs});
            json!({"layers": [{"name": "binary-app", "sources": [source]}]})
        };
        let net = json!({"security.capability": "AQAAAgAEAAAAAAAAAAAAAAAAAAA="});
        let name = "layers.binary-app.sources./usr/bin/app.xattrs.security.capability";
        let after = Some("cap_net_bind_service=ep".to_owned());
        assert_eq!(
            differences(layer(json!({})), layer(net)),
            [(name.to_owned(), None, after)]
        );
    }

    #[test]
    fn declared_inputs_of_crates_are_named() {
        let build = |crates: Value| -> BuildInputs {
            serde_json::from_value(json!({"profile": "release", "target": "t", "crates": crates}))
                .unwrap()
        };
        let app = |flag: &str, commit: &str| {
            let revision = json!({"commit": commit, "time": 1, "dirty": true});
            json!({"app": {"environment": {"FLAG": flag}, "revision": revision}})
        };
        let (before, after) = (build(app("a", "abc")), build(app("b", "abd")));
        let mut found = Vec::new();
        let maps_of = [&before, &after].map(declared);
        maps(&maps_of[0], &maps_of[1], Kind::Declared, &mut found);
        let rows = found
            .iter()
            .map(|it| (it.name.as_str(), it.before.as_deref(), it.after.as_deref()));
        assert_eq!(
            rows.collect::<Vec<_>>(),
            [
                ("app.environment.FLAG", Some("a"), Some("b")),
                (
                    "app.revision",
                    Some("abc with changes at 1"),
                    Some("abd with changes at 1")
                ),
            ]
        );
        assert_eq!(settings(&before), settings(&after));
        assert_eq!(
            declared(&build(json!({"app": {"environment": {"FLAG": "a"}}}))).len(),
            1
        );
    }

    #[test]
    fn builds_without_declared_inputs_keep_their_bytes() {
        let bytes = serde_json::to_string(&BuildInputs::default()).unwrap();
        assert!(!bytes.contains("crates"), "{bytes}");
    }

    #[test]
    fn packages_are_known_by_name_and_version() {
        let resource = |uri: &str| Resource::new(None, Some(uri.to_owned()), "crate");
        let found = name_and_version(&resource(
            "pkg:deb/debian/libstdc%2B%2B6@12%2Bdeb12u1?arch=amd64",
        ));
        assert_eq!(found, ("libstdc++6".to_owned(), "12+deb12u1".to_owned()));
        let found = name_and_version(&resource(
            "pkg:cargo/a@1.0.0?vcs_url=git%2Bhttps%3A%2F%2Fx%23abc",
        ));
        assert_eq!(found, ("a".to_owned(), "1.0.0 (abc)".to_owned()));
    }
}
