//! Writes the values that a package inherits from its workspace into the package's own manifest.
//! <https://doc.rust-lang.org/cargo/reference/workspaces.html#the-package-table>

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// Returns the manifest of the package in `directory`, which is below `root`, with all inherited
/// values.
///
/// # Errors
/// Fails if a manifest is malformed, or inherits a value that no workspace defines.
pub fn manifest(directory: &Path, root: &Path) -> Result<String> {
    let text = read(directory)?;
    let mut manifest = parse(directory, &text)?;
    if !inherits(&Value::Table(manifest.clone())) {
        return Ok(text);
    }
    let workspace = workspace(directory, root, &manifest)?;
    resolve_package(&mut manifest, &workspace)?;
    resolve_dependencies(&mut manifest, &workspace)?;
    if let Some(Value::Table(targets)) = manifest.get_mut("target") {
        for (_, target) in targets.iter_mut() {
            if let Value::Table(target) = target {
                resolve_dependencies(target, &workspace)?;
            }
        }
    }
    // Cargo caps the lints of packages that are not members.
    manifest.remove("lints");
    Ok(manifest.to_string())
}

/// Returns the version that a manifest inherits.
///
/// # Errors
/// Fails if no workspace defines one.
pub fn version(directory: &Path, root: &Path, manifest: &Table) -> Result<String> {
    let workspace = workspace(directory, root, manifest)?;
    let given = workspace
        .get("package")
        .and_then(|given| given.get("version"));
    let given = given.and_then(Value::as_str);
    Ok(given
        .context("the workspace gives no `package.version` to inherit")?
        .to_owned())
}

fn read(directory: &Path) -> Result<String> {
    let path = directory.join("Cargo.toml");
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn parse(directory: &Path, text: &str) -> Result<Table> {
    toml::from_str(text).with_context(|| format!("{}/Cargo.toml is malformed", directory.display()))
}

/// Whether a value contains `workspace = true`.
fn inherits(value: &Value) -> bool {
    let Value::Table(table) = value else {
        return false;
    };
    is_inherited(value) || table.values().any(inherits)
}

fn is_inherited(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// Returns the `[workspace]` table that the package belongs to: its own, the one that it names, or
/// the nearest above.
fn workspace(directory: &Path, root: &Path, manifest: &Table) -> Result<Table> {
    if let Some(Value::Table(own)) = manifest.get("workspace") {
        return Ok(own.clone());
    }
    let named = manifest.get("package").and_then(|p| p.get("workspace"));
    if let Some(path) = named.and_then(Value::as_str) {
        let above = directory.join(path);
        let found = parse(&above, &read(&above)?)?;
        if let Some(Value::Table(found)) = found.get("workspace") {
            return Ok(found.clone());
        }
    }
    for above in directory.ancestors().skip(1) {
        if above.join("Cargo.toml").is_file() {
            let found = parse(above, &read(above)?)?;
            if let Some(Value::Table(found)) = found.get("workspace") {
                return Ok(found.clone());
            }
        }
        if above == root {
            break;
        }
    }
    bail!(
        "{}/Cargo.toml inherits from a workspace, and there is none above it",
        directory.display()
    )
}

fn resolve_package(manifest: &mut Table, workspace: &Table) -> Result<()> {
    let Some(Value::Table(package)) = manifest.get_mut("package") else {
        return Ok(());
    };
    for (key, value) in package.iter_mut().filter(|(_, value)| is_inherited(value)) {
        let given = workspace.get("package").and_then(|given| given.get(key));
        *value = given
            .with_context(|| format!("the workspace gives no `package.{key}` to inherit"))?
            .clone();
    }
    Ok(())
}

fn resolve_dependencies(table: &mut Table, workspace: &Table) -> Result<()> {
    let kinds = [
        "dependencies",
        "dev-dependencies",
        "build-dependencies",
        "dev_dependencies",
        "build_dependencies",
    ];
    for kind in kinds {
        let Some(Value::Table(dependencies)) = table.get_mut(kind) else {
            continue;
        };
        for (name, own) in dependencies
            .iter_mut()
            .filter(|(_, value)| is_inherited(value))
        {
            let given = workspace.get("dependencies").and_then(|d| d.get(name));
            let given =
                given.with_context(|| format!("the workspace gives no dependency `{name}`"))?;
            *own = dependency(own, given);
        }
    }
    Ok(())
}

/// Returns the workspace's dependency, with the package's own features and `optional`.
fn dependency(own: &Value, given: &Value) -> Value {
    let mut all = match given {
        Value::Table(table) => table.clone(),
        version => Table::from_iter([("version".to_owned(), version.clone())]),
    };
    let features = |value: &Value| value.get("features").and_then(Value::as_array).cloned();
    let mut wanted = features(given).unwrap_or_default();
    wanted.extend(features(own).unwrap_or_default());
    if !wanted.is_empty() {
        all.insert("features".into(), wanted.into());
    }
    if let Some(optional) = own.get("optional") {
        all.insert("optional".into(), optional.clone());
    }
    // A package can turn on default features that the workspace turned off, but not turn them off.
    let defaults = |value: &Value| value.get("default-features").and_then(Value::as_bool);
    if defaults(given) == Some(false) && defaults(own) == Some(true) {
        all.insert("default-features".into(), true.into());
    }
    Value::Table(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(member: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let root = "[workspace]\nmembers = [\"a\"]\n[workspace.package]\nversion = \
                    \"1.2.3\"\n[workspace.dependencies]\nserde = { version = \"1\", \
                    default-features = false, features = [\"std\"] }\nlibc = \"0.2\"\n";
        fs::write(directory.path().join("Cargo.toml"), root).unwrap();
        fs::create_dir(directory.path().join("a")).unwrap();
        fs::write(directory.path().join("a/Cargo.toml"), member).unwrap();
        directory
    }

    fn resolved(member: &str) -> Result<Table> {
        let directory = repository(member);
        let text = manifest(&directory.path().join("a"), directory.path())?;
        Ok(toml::from_str(&text).unwrap())
    }

    #[test]
    fn fields_dependencies_and_features_are_inherited() {
        let found = resolved(
            "[package]\nname = \"a\"\nversion.workspace = true\n[dependencies]\n\
             serde = { workspace = true, features = [\"derive\"], optional = true }\n\
             [target.'cfg(unix)'.dependencies]\nlibc.workspace = true\n[lints]\nworkspace = true\n",
        )
        .unwrap();
        let expected = "[package]\nname = \"a\"\nversion = \
                        \"1.2.3\"\n[dependencies.serde]\nversion = \"1\"\ndefault-features = \
                        false\nfeatures = [\"std\", \"derive\"]\noptional = \
                        true\n[target.'cfg(unix)'.dependencies.libc]\nversion = \"0.2\"\n";
        assert_eq!(found, toml::from_str(expected).unwrap());
    }

    #[test]
    fn what_inherits_nothing_stays_as_it_is() {
        let member = "[package]\nname = 'a'  # kept\nversion = '1.0.0'\n";
        let directory = repository(member);
        let text = manifest(&directory.path().join("a"), directory.path()).unwrap();
        assert_eq!(text, member);
    }

    #[test]
    fn what_the_workspace_does_not_give_is_named() {
        let error =
            resolved("[package]\nname = \"a\"\nversion = \"1.0.0\"\nlicense.workspace = true\n");
        let said = format!("{:#}", error.unwrap_err());
        assert!(said.contains("package.license"), "{said}");
    }
}
