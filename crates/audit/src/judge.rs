//! Judges how advisories affect an image.

use std::collections::BTreeSet;

use crateyard_oci::Platform;
use semver::{Version, VersionReq};

use crate::advisory::{Advisory, Said};
use crate::database::Database;
use crate::finding::{Component, Finding, Justification, Kind, Status};
use crate::policy::{Policy, Reach};
use crate::subject::{AuditedCrate, AuditedPackage, Origin, Subject};
use crate::tracker::{InRelease, Issue, Tracker, release};

/// The longest title that is made from the text of a CVE, in characters.
const TITLE: usize = 120;

/// The data of an audit.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// RustSec's advisories.
    pub database: Option<&'a Database>,
    /// Debian's security data.
    pub tracker: Option<&'a Tracker>,
    /// The crates of crates.io in the workspace's `Cargo.lock`: name and version.
    pub locked: &'a [(String, String)],
    /// The content of `audit.toml`.
    pub policy: &'a Policy,
    /// The day of the audit: `2027-03-01`.
    pub today: &'a str,
}

/// The findings about an image.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The findings, sorted. Findings that affect the image come first.
    pub findings: Vec<Finding>,
    /// The entries of `ignore` that apply to the image, by their index in the policy.
    pub used: BTreeSet<usize>,
    /// The used entries that have expired.
    pub over: BTreeSet<usize>,
    /// The Debian packages whose release is unknown.
    pub without_release: Vec<String>,
}

/// Judges an image.
pub fn judge(subject: &Subject, data: &Data<'_>) -> Report {
    let mut report = Report::default();
    let mut findings = Vec::new();
    if let Some(database) = data.database {
        findings.extend(about_crates(subject, database, data));
    }
    if let Some(tracker) = data.tracker {
        for package in &subject.packages {
            match package.release.as_deref().and_then(release) {
                Some(release) => findings.extend(about_package(package, release, tracker)),
                None => report.without_release.push(package.name.clone()),
            }
        }
    }
    for finding in &mut findings {
        ignore(finding, &subject.name, data, &mut report);
    }
    findings.sort();
    findings.dedup();
    report.findings = findings;
    report
}

fn about_crates(subject: &Subject, database: &Database, data: &Data<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for linked in &subject.crates {
        for advisory in database.about_crate(&linked.name) {
            let status = of_linked(linked, advisory, &subject.platform, data.policy);
            // If the package is another one of that name, the advisory is not about it.
            if linked.origin != Origin::Workspace || status.0 == Status::UnderInvestigation {
                findings.push(finding(linked, advisory, status));
            }
        }
    }
    for std in &subject.std {
        for advisory in database.about_std() {
            let status = of_linked(std, advisory, &subject.platform, data.policy);
            findings.push(finding(std, advisory, status));
        }
    }
    let is_linked = |name: &str, version: &str| {
        let mut linked = subject.crates.iter();
        linked.any(|it| it.name == name && it.version == version)
    };
    let in_lock = data.locked.iter().map(|(name, version)| AuditedCrate {
        purl: crateyard_image::attestation::cargo_purl(name, version),
        name: name.clone(),
        version: version.clone(),
        origin: Origin::CratesIo,
        features: None,
        programs: BTreeSet::new(),
    });
    let ran = subject
        .tools
        .iter()
        .map(|it| (it.clone(), "it only ran while the image was built"));
    let ran_only = |it: &AuditedCrate| {
        subject
            .tools
            .iter()
            .any(|tool| tool.name == it.name && tool.version == it.version)
    };
    let locked = in_lock.filter(|it| !ran_only(it)).map(|it| {
        (
            it,
            "Cargo.lock has it, and no program of the image is linked from it",
        )
    });
    let absent = ran.chain(locked);
    for (absent, reason) in absent.filter(|(it, _)| !is_linked(&it.name, &it.version)) {
        for advisory in database.about_crate(&absent.name) {
            let is_vulnerable = absent
                .version
                .parse()
                .is_ok_and(|version| advisory.about(&version) == Said::Vulnerable);
            if is_vulnerable && absent.origin == Origin::CratesIo {
                let status = Status::NotAffected(Justification::ComponentNotPresent);
                findings.push(finding(&absent, advisory, (status, reason.to_owned())));
            }
        }
    }
    findings
}

/// Returns the effect of an advisory on a crate that is linked into a program, and the reason.
fn of_linked(
    linked: &AuditedCrate,
    advisory: &Advisory,
    platform: &Platform,
    policy: &Policy,
) -> (Status, String) {
    let absent = Status::NotAffected(Justification::VulnerableCodeNotPresent);
    let Ok(version) = linked.version.parse::<Version>() else {
        let reason = format!("{:?} is not a version that can be compared", linked.version);
        return (Status::UnderInvestigation, reason);
    };
    match advisory.about(&version) {
        Said::Patched => return (Status::Fixed, format!("{version} has the fix")),
        Said::Unaffected => return (absent, format!("{version} never had the fault")),
        Said::Vulnerable => {}
    }
    // This holds whether or not the package is the advisory's crate.
    if let Some(only) = other_platform(advisory, platform) {
        return (
            absent,
            format!("only {only} has the fault, and the image is for {platform}"),
        );
    }
    let unclear = match linked.origin {
        Origin::CratesIo => None,
        Origin::Elsewhere => {
            Some("it comes from git or another registry, where the version says nothing")
        }
        Origin::Workspace => {
            Some("the workspace has a package of that name, which may be a copy of the crate")
        }
    };
    if let Some(reason) = unclear {
        return (Status::UnderInvestigation, reason.to_owned());
    }
    let reach: Vec<&Reach> = policy
        .reach
        .iter()
        .filter(|it| advisory.is_called(&it.id))
        .collect();
    reached(linked, &reach)
}

/// Returns whether the features that a crate was compiled with include the vulnerable code, and the
/// reason.
fn reached(linked: &AuditedCrate, reach: &[&Reach]) -> (Status, String) {
    let programs: Vec<&str> = linked.programs.iter().map(String::as_str).collect();
    let programs = programs.join(", ");
    let (Some(first), Some(features)) = (reach.first(), &linked.features) else {
        return (Status::Affected, format!("linked into {programs}"));
    };
    let names = |features: &BTreeSet<String>| {
        features
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" and ")
    };
    if let Some(has) = reach.iter().find(|it| it.features.is_subset(features)) {
        let reason = format!("linked into {programs} with {}", names(&has.features));
        return (Status::Affected, reason);
    }
    let needed: Vec<String> = reach.iter().map(|it| names(&it.features)).collect();
    let reason = format!(
        "compiled without {}, which the vulnerable code needs: {}",
        needed.join(", or "),
        first.reason
    );
    (
        Status::NotAffected(Justification::VulnerableCodeNotPresent),
        reason,
    )
}

/// Returns the processors or systems that an advisory is limited to, if the image is for a
/// different one.
fn other_platform(advisory: &Advisory, platform: &Platform) -> Option<String> {
    let arch = rust_arch(&platform.architecture);
    if !advisory.os.is_empty() && !advisory.os.contains(&platform.os) {
        return Some(advisory.os.join(", "));
    }
    if !advisory.arch.is_empty() && !advisory.arch.iter().any(|it| it == arch) {
        return Some(advisory.arch.join(", "));
    }
    None
}

/// Returns rustc's name of a processor whose name differs in Go and OCI.
fn rust_arch(architecture: &str) -> &str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "x86",
        "ppc64le" | "ppc64" => "powerpc64",
        "mipsle" => "mips",
        "mips64le" => "mips64",
        "loong64" => "loongarch64",
        other => other,
    }
}

fn finding(
    component: &AuditedCrate,
    advisory: &Advisory,
    (status, reason): (Status, String),
) -> Finding {
    let version: Option<Version> = component.version.parse().ok();
    let functions = version.map(|version| advisory.functions_in(&version));
    let page = || format!("https://rustsec.org/advisories/{}.html", advisory.id);
    Finding {
        status,
        reason,
        id: advisory.id.clone(),
        component: Component {
            name: component.name.clone(),
            version: component.version.clone(),
            purl: component.purl.clone(),
            programs: component.programs.clone(),
        },
        kind: advisory.kind,
        aliases: advisory.aliases.clone(),
        title: advisory.title.clone(),
        url: match advisory.id.starts_with("RUSTSEC-") {
            true => page(),
            false => advisory.url.clone().unwrap_or_else(page),
        },
        severity: advisory.severity.clone(),
        fixed_in: advisory.patched.iter().map(VersionReq::to_string).collect(),
        functions: functions.unwrap_or_default(),
        ignored: None,
    }
}

/// Returns Debian's open issues in a package. Leaves out fixed issues: there are many, and scanners
/// recognize them by the versions in dpkg's database.
fn about_package<'a>(
    package: &'a AuditedPackage,
    release: &'a str,
    tracker: &'a Tracker,
) -> impl Iterator<Item = Finding> + 'a {
    tracker
        .about(&package.source)
        .filter_map(move |(id, issue)| {
            let said = issue.releases.get(release)?;
            let (status, reason) = of_package(package, said, release)?;
            Some(debian_finding(package, id, issue, said, (status, reason)))
        })
}

fn of_package(
    package: &AuditedPackage,
    said: &InRelease,
    release: &str,
) -> Option<(Status, String)> {
    let fixed = said.fixed_version.as_deref().filter(|it| !it.is_empty());
    let source = format!(
        "source package {} {}",
        package.source, package.source_version
    );
    match (said.status.as_str(), fixed) {
        ("resolved", Some("0")) => None,
        ("resolved", Some(fixed)) => {
            let own = package
                .source_version
                .parse::<crateyard_debian::version::Version>();
            let fixed = fixed.parse::<crateyard_debian::version::Version>();
            match (own, fixed) {
                (Ok(own), Ok(fixed)) if own >= fixed => None,
                (Ok(_), Ok(fixed)) => {
                    let reason = format!("{source}; {release} has the fix in {fixed}");
                    Some((Status::Affected, reason))
                }
                (Err(error), _) | (_, Err(error)) => {
                    Some((Status::UnderInvestigation, error.to_string()))
                }
            }
        }
        ("open", _) => {
            let nodsa = said.nodsa.as_deref().filter(|it| !it.is_empty());
            let nodsa = nodsa.map(|it| format!(" ({it})")).unwrap_or_default();
            let reason = format!("{source}; {release} has no fix{nodsa}");
            Some((Status::Affected, reason))
        }
        (status, _) => {
            let reason = format!("{source}; Debian says {status:?} of {release}");
            Some((Status::UnderInvestigation, reason))
        }
    }
}

fn debian_finding(
    package: &AuditedPackage,
    id: &str,
    issue: &Issue,
    said: &InRelease,
    (status, reason): (Status, String),
) -> Finding {
    let urgency = said.urgency.as_deref().unwrap_or_default();
    let fixed = said
        .fixed_version
        .iter()
        .filter(|it| said.status == "resolved" && !it.is_empty());
    Finding {
        status,
        reason,
        id: id.to_owned(),
        component: Component {
            name: package.name.clone(),
            version: package.version.clone(),
            purl: package.purl.clone(),
            programs: BTreeSet::new(),
        },
        kind: match urgency {
            "unimportant" => Kind::Unimportant,
            _ => Kind::Vulnerability,
        },
        aliases: Vec::new(),
        title: title(&issue.description),
        url: format!("https://security-tracker.debian.org/tracker/{id}"),
        severity: ["low", "medium", "high"]
            .contains(&urgency.trim_end_matches('*'))
            .then(|| urgency.trim_end_matches('*').to_owned()),
        fixed_in: fixed.cloned().collect(),
        functions: Vec::new(),
        ignored: None,
    }
}

/// Returns the beginning of a CVE's text, because a CVE has no title.
fn title(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(TITLE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Marks a finding as ignored if the policy says so.
fn ignore(finding: &mut Finding, image: &str, data: &Data<'_>, report: &mut Report) {
    if !finding.is_open() {
        return;
    }
    for (place, entry) in data.policy.ignore.iter().enumerate() {
        let is_called = finding.id == entry.id || finding.aliases.contains(&entry.id);
        let package = entry.package.as_ref();
        let images = entry.images.as_ref();
        if !is_called
            || package.is_some_and(|it| *it != finding.component.name)
            || images.is_some_and(|it| !it.contains(image))
        {
            continue;
        }
        report.used.insert(place);
        if entry.is_over(data.today) {
            report.over.insert(place);
            continue;
        }
        finding.ignored = Some(entry.reason.clone());
        if let Some(justification) = entry.justification {
            finding.status = Status::NotAffected(justification);
            finding.reason.clone_from(&entry.reason);
        }
        return;
    }
}
