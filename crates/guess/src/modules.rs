//! Finds the files of a crate: its main file and the modules that are declared from there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::files::{literal, simple};
use crate::sources::Source;

/// Returns the files of the crate that begins at `root`, which is relative to the package as all
/// paths of `sources` are. Leaves out modules that are declared inside a module of the same file.
pub(crate) fn of(root: &Path, sources: &[Source]) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        let Some(source) = sources.iter().find(|source| source.path == path) else {
            continue;
        };
        if found.insert(path.clone()) {
            let beside = path == root || path.ends_with("mod.rs");
            let modules = declared(&source.text).into_iter();
            pending.extend(modules.flat_map(|module| module.places(&path, beside)));
        }
    }
    found
}

/// A declaration of a module in a file of its own.
#[derive(Debug, PartialEq)]
struct Module<'t> {
    name: &'t str,
    /// The file, if an attribute names it.
    path: Option<&'t str>,
}

impl Module<'_> {
    /// Returns the paths where the module's file may be. `beside` is whether modules of the file
    /// that declares it lie beside that file.
    /// <https://doc.rust-lang.org/reference/items/modules.html#module-source-filenames>
    fn places(&self, file: &Path, beside: bool) -> Vec<PathBuf> {
        let around = file.parent().unwrap_or(Path::new(""));
        if let Some(path) = self.path {
            return simple(&around.join(path)).into_iter().collect();
        }
        let directory = match beside {
            true => around.to_owned(),
            false => file.with_extension(""),
        };
        let name = self.name;
        let names = [format!("{name}.rs"), format!("{name}/mod.rs")];
        names.map(|name| directory.join(name)).into()
    }
}

/// Returns the modules that a file declares: `pub(crate) mod NAME;`.
fn declared(text: &str) -> Vec<Module<'_>> {
    let mut modules = Vec::new();
    let mut path = None;
    for line in text.lines().map(str::trim) {
        if let Some((_, rest)) = line.split_once("#[path = \"") {
            path = literal(rest);
        }
        let item = line.rsplit_once(']').map_or(line, |(_, item)| item.trim());
        if let Some(name) = module(item) {
            modules.push(Module { name, path });
        }
        if !item.is_empty() {
            path = None;
        }
    }
    modules
}

/// Returns the name of the module that an item declares, if it is one without a body.
fn module(item: &str) -> Option<&str> {
    let (visibility, rest) = match item.strip_prefix("mod ") {
        Some(rest) => ("", rest),
        None => item.split_once(" mod ")?,
    };
    let (name, _) = rest.split_once(';')?;
    let is_item = visibility.is_empty() || visibility.starts_with("pub");
    let name = name.trim().trim_start_matches("r#");
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (is_item && is_name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.to_owned(),
            target: None,
        }
    }

    #[test]
    fn modules_are_found_where_rust_looks_for_them() {
        let main = "mod assets;\n#[cfg(unix)] pub(crate) mod unix;\n// mod comment;\n#[path = \
                    \"../common/x.rs\"]\nmod other;\nmod inside { fn f() {} }\nmod last;\n";
        let sources = [
            source("build/main.rs", main),
            source("build/assets.rs", "mod deep;\n"),
            source("build/assets/deep.rs", ""),
            source("build/comment.rs", ""),
            source("build/deep.rs", ""),
            source("build/inside.rs", ""),
            source("build/last.rs", ""),
            source("build/other.rs", ""),
            source("build/unix/mod.rs", "pub mod deep;\n"),
            source("build/unix/deep.rs", "mod unix;\n"),
            source("common/x.rs", ""),
        ];
        let found = of(Path::new("build/main.rs"), &sources);
        let found: Vec<&str> = found.iter().filter_map(|path| path.to_str()).collect();
        let expected = [
            "build/assets/deep.rs",
            "build/assets.rs",
            "build/last.rs",
            "build/main.rs",
            "build/unix/deep.rs",
            "build/unix/mod.rs",
            "common/x.rs",
        ];
        assert_eq!(found, expected);
    }
}
