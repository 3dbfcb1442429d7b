//! Drop-ins: files such as `app.container.d/10.conf`, whose lines the generator adds to a unit.

use std::collections::BTreeMap;

use super::names::{is_kind, kind_of};

/// The ending of drop-ins. The generator passes over other files beside them.
const ENDING: &str = ".conf";

/// Whether a path's last two names are those of a drop-in and its directory.
pub fn is_drop_in(path: &str) -> bool {
    let mut names = path.rsplit('/');
    let (Some(file), Some(directory)) = (names.next(), names.next()) else {
        return false;
    };
    file.ends_with(ENDING) && is_directory(directory)
}

/// Whether a directory has the name of one with drop-ins, of a unit or of all units of a kind.
pub fn is_directory(name: &str) -> bool {
    let units = name.strip_suffix(".d");
    units.is_some_and(|units| is_kind(units) || kind_of(units).is_some())
}

/// Whether a file is a drop-in in one of a unit's directories.
pub(super) fn is_for(file: &str, unit: &str) -> bool {
    let directory = file.rsplit_once('/').map(|(directory, _)| directory);
    is_drop_in(file) && directory.is_some_and(|own| directories(unit).iter().any(|it| it == own))
}

/// Returns a unit's drop-ins in the order in which the generator adds them: by the names of the
/// files. Of files with one name, that in the directory that fits the unit best counts.
pub(super) fn of<'a>(unit: &str, all: &BTreeMap<&'a str, &'a str>) -> BTreeMap<&'a str, &'a str> {
    let mut found = BTreeMap::new();
    for directory in directories(unit) {
        let inside = all.iter().filter_map(|(path, text)| {
            let (own, file) = path.rsplit_once('/')?;
            (own == directory).then_some((file, *text))
        });
        for (file, text) in inside {
            found.entry(file).or_insert(text);
        }
    }
    found
}

/// Returns the directories with a unit's drop-ins, those that fit it best first. `a-b@1.container`
/// has `a-b@1.container.d`, `a-b@.container.d`, `a-.container.d` and `container.d`.
fn directories(unit: &str) -> Vec<String> {
    let Some((stem, kind)) = unit.rsplit_once('.') else {
        return Vec::new();
    };
    let mut found = vec![format!("{unit}.d")];
    let name = match stem.split_once('@') {
        Some((name, "")) => name,
        Some((name, _)) => {
            found.push(format!("{name}@.{kind}.d"));
            name
        }
        None => stem,
    };
    let dashes = name.rmatch_indices('-');
    found.extend(dashes.map(|(at, _)| format!("{}.{kind}.d", &name[..=at])));
    found.push(format!("{kind}.d"));
    found
}

#[cfg(test)]
mod tests {
    use super::{directories, is_drop_in};

    #[test]
    fn directories_are_ordered_by_how_well_they_fit() {
        for (unit, expected) in [
            ("app.container", &["app.container.d", "container.d"][..]),
            (
                "a-b-c.pod",
                &["a-b-c.pod.d", "a-b-.pod.d", "a-.pod.d", "pod.d"],
            ),
            ("t@.image", &["t@.image.d", "image.d"]),
            ("t@1-2.kube", &["t@1-2.kube.d", "t@.kube.d", "kube.d"]),
        ] {
            assert_eq!(directories(unit), expected, "{unit}");
        }
    }

    #[test]
    fn drop_ins_are_known_by_their_directory() {
        for (path, expected) in [
            ("app.container.d/a.conf", true),
            ("/etc/units/container.d/a.conf", true),
            ("app.container.d/a.conf.before-crateyard", false),
            ("app.container/a.conf", false),
            ("app.service.d/a.conf", false),
            ("conf.d/a.conf", false),
            ("a.conf", false),
        ] {
            assert_eq!(is_drop_in(path), expected, "{path}");
        }
    }
}
