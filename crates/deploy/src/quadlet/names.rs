//! The names of units, and of the services that the generator makes of them.

/// The endings of units, and what the generator adds to the names of their services.
const KINDS: [(&str, &str); 7] = [
    ("container", ""),
    ("kube", ""),
    ("pod", "-pod"),
    ("image", "-image"),
    ("build", "-build"),
    ("volume", "-volume"),
    ("network", "-network"),
];

/// Whether a file has the name of a unit.
pub fn is_unit(name: &str) -> bool {
    !name.contains('/') && kind_of(name).is_some()
}

/// Returns the ending of a unit's name, or `None` for other files.
pub(super) fn kind_of(name: &str) -> Option<&str> {
    let (_, ending) = name.rsplit_once('.')?;
    is_kind(ending).then_some(ending)
}

/// Whether a word is the ending of units.
pub(super) fn is_kind(word: &str) -> bool {
    KINDS.iter().any(|(kind, _)| *kind == word)
}

/// Returns the service of a unit, which may name it itself, as `systemctl` takes it.
pub(super) fn service_of(name: &str, given: Option<&str>) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.')?;
    let (_, suffix) = KINDS.iter().find(|(kind, _)| *kind == ending)?;
    let service = given.map_or_else(|| format!("{stem}{suffix}"), str::to_owned);
    Some(match service.ends_with('@') {
        true => format!("{service}*.service"),
        false => format!("{service}.service"),
    })
}
