//! Groups the binaries of all images into calls of Cargo.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Description;
use crate::normal::{Binary, Call, Settings};
use crate::normalize::PlacedBinary;
use crateyard_spec::targets::Targets;

/// A package and a binary of it.
type Wanted = (String, String);

/// Returns one call for all images with the same settings, and more where packages have binaries of
/// the same name. Writes into each binary the name of the call that compiles it.
pub(crate) fn assign(
    description: &Description,
    targets: &Targets,
    binaries: &mut BTreeMap<String, Vec<PlacedBinary>>,
) -> BTreeMap<String, Call> {
    let settings_of = |image: &String| {
        let build = description.images.get(image);
        let build = build.and_then(|image| image.fields.build.clone());
        description.settings(&build.unwrap_or_default())
    };
    let wanted = |placed: &PlacedBinary| {
        let Binary { package, bin, .. } = &placed.binary;
        (package.clone(), bin.clone())
    };
    let mut groups: BTreeMap<Settings, BTreeSet<Wanted>> = BTreeMap::new();
    for (image, placed) in binaries.iter().filter(|(_, placed)| !placed.is_empty()) {
        let group = groups.entry(settings_of(image)).or_default();
        group.extend(placed.iter().map(wanted));
    }
    let mut calls = BTreeMap::new();
    let mut names: BTreeMap<(Settings, Wanted), String> = BTreeMap::new();
    for (settings, group) in groups {
        for lot in lots(&group, targets) {
            let name = name(&settings, &lot, &calls);
            for one in &lot {
                names.insert((settings.clone(), one.clone()), name.clone());
            }
            let call = call(&name, settings.clone(), lot, targets);
            calls.insert(name, call);
        }
    }
    for (image, placed) in binaries.iter_mut() {
        let settings = settings_of(image);
        for one in placed {
            let key = (settings.clone(), wanted(one));
            one.binary.call = names.get(&key).cloned().unwrap_or_default();
        }
    }
    calls
}

/// Splits the binaries into as few lots as possible. `--bin` applies to every package that a call
/// selects, so a package that has a binary of the same name goes into another lot.
fn lots(group: &BTreeSet<Wanted>, targets: &Targets) -> Vec<Vec<Wanted>> {
    let mut lots: Vec<Vec<Wanted>> = Vec::new();
    for one in group {
        let fits = |lot: &&mut Vec<Wanted>| {
            let all = || lot.iter().chain([one]);
            let packages: BTreeSet<&String> = all().map(|(package, _)| package).collect();
            let has = |package: &str, bin: &str| {
                let package = targets.package(package);
                package.is_some_and(|package| package.binaries().any(|name| name == bin))
            };
            all().all(|(_, bin)| packages.iter().filter(|it| has(it, bin)).count() == 1)
        };
        match lots.iter_mut().find(fits) {
            Some(lot) => lot.push(one.clone()),
            None => lots.push(vec![one.clone()]),
        }
    }
    lots
}

/// Returns the name of the settings; if it is taken, the name of a package follows it. The name
/// depends on no other image.
fn name(settings: &Settings, lot: &[Wanted], calls: &BTreeMap<String, Call>) -> String {
    let plain = settings.name();
    let packages = lot.iter().map(|(package, _)| format!("{plain}-{package}"));
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut names = std::iter::once(plain.clone())
        .chain(packages)
        .chain(numbered);
    let free = names.find(|name| !calls.contains_key(name));
    free.unwrap_or(plain)
}

fn call(name: &str, mut settings: Settings, lot: Vec<Wanted>, targets: &Targets) -> Call {
    let required = lot.iter().flat_map(|(package, bin)| {
        let found = targets.package(package);
        let features = found.map_or(&[][..], |found| found.required_features(bin));
        features
            .iter()
            .map(move |feature| format!("{package}/{feature}"))
    });
    if !settings.all_features {
        let mut features: BTreeSet<String> = settings.features.into_iter().collect();
        features.extend(required);
        settings.features = features.into_iter().collect();
    }
    let binary = |(package, bin)| Binary {
        package,
        bin,
        call: name.to_owned(),
    };
    Call {
        settings,
        binaries: lot.into_iter().map(binary).collect(),
    }
}
