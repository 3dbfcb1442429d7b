//! Refuses settings that would make a build depend on the machine that runs it, before anything is
//! built: processors called `native`, and linkers that the toolchain does not have.

use crate::configuration::Configuration;
use crate::record::Record;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::Path;

/// Options of rustc and of C compilers that mean the machine's own processor.
const NATIVE: [&str; 5] = [
    "target-cpu=native",
    "tune-cpu=native",
    "-march=native",
    "-mtune=native",
    "-mcpu=native",
];

/// Checks the calls that Cargo would make. `args` are Cargo's own arguments. A linker that they
/// name is the caller's responsibility.
///
/// # Errors
/// Fails if a call depends on the machine, or on a linker that does not exist. The error says where
/// that is configured and what to write instead.
pub fn check(records: &[Record], args: &[String], configuration: &Configuration) -> Result<()> {
    for record in records {
        refuse_native(record, configuration)?;
    }
    let missing: BTreeSet<String> = records
        .iter()
        .flat_map(linkers)
        .filter(|linker| !args.iter().any(|arg| arg.contains(linker.as_str())))
        .filter(|linker| !is_there(linker))
        .collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let at = configuration.locate(first);
    if missing.iter().any(|linker| linker.starts_with('/')) {
        bail!(
            "{at}: the linker {first} is not a program of the toolchain\n  Name a program that a \
             package of Debian has, such as `clang`"
        );
    }
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let packages: Vec<String> = missing
        .iter()
        .map(|name| format!("{:?}", package(name)))
        .collect();
    bail!(
        "{at}: the toolchain does not have {}, which Cargo's configuration links with\n  Add to \
         images.toml, and run: assemble lock\n\n    [toolchain]\n    packages = [{}]\n",
        names.join(" and "),
        packages.join(", ")
    );
}

fn refuse_native(record: &Record, configuration: &Configuration) -> Result<()> {
    let words = record.argv.iter().chain(record.env.values());
    let found = words
        .flat_map(|word| NATIVE.iter().filter(move |native| word.contains(*native)))
        .next();
    let Some(native) = found else {
        return Ok(());
    };
    let at = configuration.locate(native);
    bail!(
        "{at}: `{native}` means the processor of whatever machine builds: the same source would \
         have other bytes elsewhere, and a program from a cache might not run\n  Name a processor \
         that all your machines have, such as `{}`",
        native.replace("native", "x86-64-v3")
    );
}

/// Returns the linkers that a call of rustc names, as `linker` or in `-fuse-ld`.
fn linkers(record: &Record) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (index, arg) in record.argv.iter().enumerate() {
        let value = match arg.strip_prefix("-C") {
            Some("") => record.argv.get(index + 1).map_or("", String::as_str),
            Some(value) => value,
            None => continue,
        };
        found.extend(value.strip_prefix("linker=").map(str::to_owned));
        let mut options = value.split_whitespace();
        let used = options.find_map(|option| option.split_once("-fuse-ld="));
        found.extend(used.map(|(_, name)| name.to_owned()));
    }
    // rustc provides these itself.
    found.retain(|linker| !linker.starts_with("rust-"));
    found
}

fn is_there(linker: &str) -> bool {
    let names = [linker.to_owned(), format!("ld.{linker}")];
    names
        .iter()
        .any(|name| Path::new("/usr/bin").join(name).exists())
}

/// Returns the Debian package that contains a linker.
fn package(linker: &str) -> &str {
    match linker {
        "gold" | "bfd" | "ld" => "binutils",
        "ld.lld" | "lld" | "ld64.lld" => "lld",
        "ld.mold" | "mold" => "mold",
        "clang++" => "clang",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn call(arguments: &[&str]) -> [Record; 1] {
        [Record {
            argv: arguments.iter().map(|arg| (*arg).to_owned()).collect(),
            env: BTreeMap::new(),
            cwd: "/workspace".into(),
        }]
    }

    fn said(arguments: &[&str]) -> String {
        check(&call(arguments), &[], &Configuration::default())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_linker_that_is_not_there_is_named_with_its_package() {
        let arguments = [
            "rustc",
            "-C",
            "linker=clang-99",
            "-C",
            "link-arg=-fuse-ld=ld.mold",
        ];
        let said = said(&arguments);
        assert!(
            said.contains("packages = [\"clang-99\", \"mold\"]"),
            "{said}"
        );
    }

    #[test]
    fn a_linker_that_the_caller_names_is_the_callers_affair() {
        let args = ["target.x.linker='armv7-gcc'".to_owned()];
        let records = call(&["rustc", "-Clinker=armv7-gcc"]);
        assert!(check(&records, &args, &Configuration::default()).is_ok());
    }

    #[test]
    fn native_is_refused_wherever_it_stands() {
        assert!(said(&["rustc", "-C", "target-cpu=native"]).contains("x86-64-v3"));
        assert!(said(&["rustc", "-Clink-args=-O2 -march=native"]).contains("-march=native"));
    }
}
