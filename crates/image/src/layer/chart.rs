//! Packages Helm charts like `helm package`, but deterministically: the chart's name as the top
//! directory, `Chart.yaml` first, then all files by path, without those that `.helmignore` names.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crateyard_oci::tar;

use super::plain::file_node;
use super::tree::{Content, Tree, image_path};
use crate::compress::{Compression, Compressor};
use crate::spec::ChartSource;
use crate::{Error, Result};

const CHART_FILE: &str = "Chart.yaml";
const IGNORE_FILE: &str = ".helmignore";

pub(super) fn add(tree: &mut Tree, at: &str, source: &ChartSource, epoch: u64) -> Result<()> {
    let chart = Chart::read(source)?;
    let file_name = format!("{}-{}.tgz", chart.name, chart.version);
    let to = match source.to.ends_with('/') {
        true => format!("{}{file_name}", source.to),
        false => source.to.clone(),
    };
    let to = image_path(&format!("{at}.to"), &to)?;
    let package = chart
        .package(epoch)
        .map_err(Error::io("package", &source.from))?;
    let origin = format!("{at} (chart {} {})", chart.name, chart.version);
    tree.insert(to, file_node(Content::Bytes(package), 0o644, 0, 0, &origin))
}

/// A chart in the form in which it is packaged. Charts are small: Helm itself refuses charts above
/// 1 MB because it keeps them in a Kubernetes secret.
struct Chart {
    name: String,
    version: String,
    definition: String,
    files: BTreeMap<String, PathBuf>,
}

impl Chart {
    fn read(source: &ChartSource) -> Result<Chart> {
        let path = source.from.join(CHART_FILE);
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let text = set_field(&text, "version", source.version.as_deref());
        let text = set_field(&text, "appVersion", source.app_version.as_deref());
        let required = |key: &str| {
            let value = field(&text, key).filter(|value| is_file_name_part(value));
            value.ok_or_else(|| {
                let problem = format!("has no {key} that can be part of a file name");
                let remedy = format!("write {key}: VALUE on a line of its own");
                Error::spec(path.display().to_string(), problem, remedy)
            })
        };
        let (name, version) = (required("name")?, required("version")?);
        let ignore = IgnoreRules::read(&source.from)?;
        let mut files = BTreeMap::new();
        collect(&source.from, "", &ignore, &mut files)?;
        files.remove(CHART_FILE);
        Ok(Chart {
            name,
            version,
            definition: text,
            files,
        })
    }

    fn package(&self, epoch: u64) -> io::Result<Vec<u8>> {
        let compressor = Compressor::new(Vec::new(), Compression::default(), 1)?;
        let mut writer = tar::Writer::new(compressor);
        let definition = self.definition.as_bytes();
        self.append(&mut writer, CHART_FILE, definition, epoch)?;
        for (path, file) in &self.files {
            self.append(&mut writer, path, &fs::read(file)?, epoch)?;
        }
        writer.finish()?.finish()
    }

    fn append<W: Write>(
        &self,
        writer: &mut tar::Writer<W>,
        path: &str,
        mut content: &[u8],
        epoch: u64,
    ) -> io::Result<()> {
        let header = tar::Header {
            path: &format!("{}/{path}", self.name),
            kind: tar::Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: epoch,
            size: content.len() as u64,
            link: "",
            xattrs: &BTreeMap::new(),
        };
        writer.append(&header, &mut content)
    }
}

fn collect(
    directory: &Path,
    prefix: &str,
    ignore: &IgnoreRules,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<()> {
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let entry = entry.map_err(Error::io("list", directory))?;
        let path = entry.path();
        let wrong = |problem: &str| {
            Error::spec(
                path.display().to_string(),
                problem,
                "leave it out of the chart",
            )
        };
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| wrong("has a name that is not UTF-8"))?;
        let relative = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(Error::io("read", &path))?;
        if ignore.ignores(&relative, kind.is_dir()) {
            continue;
        }
        if kind.is_dir() {
            collect(&path, &format!("{relative}/"), ignore, files)?;
        } else if kind.is_file() {
            files.insert(relative, path);
        } else {
            return Err(wrong("is neither a file nor a directory"));
        }
    }
    Ok(())
}

/// Returns the value of a top-level field of a YAML file in block style.
fn field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| value_of(line, key))?;
    let value = value.trim();
    let unquoted = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split(" #").next()?.trim(),
    };
    Some(unquoted.to_owned())
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.strip_prefix(key)?.trim_start().strip_prefix(':')
}

/// Replaces a top-level field, or adds it. All other lines stay the same.
fn set_field(text: &str, key: &str, value: Option<&str>) -> String {
    let Some(value) = value else {
        return text.to_owned();
    };
    let quoted = serde_json::Value::from(value).to_string();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = format!("{key}: {quoted}");
    match lines.iter_mut().find(|line| value_of(line, key).is_some()) {
        Some(place) => *place = line,
        None => lines.push(line),
    }
    lines.join("\n") + "\n"
}

fn is_file_name_part(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    !value.is_empty() && !value.starts_with('.') && value.chars().all(allowed)
}

/// The rules of a `.helmignore`. Each line is a pattern, and `#` starts a comment. A pattern with a
/// slash at its end matches directories only. A pattern with a slash elsewhere matches the path
/// from the chart's directory; otherwise it matches the name alone. Unlike in git, a rule that
/// starts with `!` leaves out everything that it does *not* match, as in Helm. Helm always leaves
/// out hidden files of `templates/`.
struct IgnoreRules(Vec<IgnoreRule>);

struct IgnoreRule {
    pattern: glob::Pattern,
    negated: bool,
    directories_only: bool,
    whole_path: bool,
}

impl IgnoreRules {
    fn read(chart: &Path) -> Result<IgnoreRules> {
        let path = chart.join(IGNORE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let numbered = text.lines().enumerate();
        let lines = [(0, "templates/.?*")].into_iter().chain(numbered);
        let mut rules = Vec::new();
        for (number, line) in lines {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            rules.push(IgnoreRule::parse(line).map_err(|problem| {
                let at = format!("{}:{}", path.display(), number + 1);
                Error::spec(at, format!("{line:?} {problem}"), "see Helm's rules")
            })?);
        }
        Ok(IgnoreRules(rules))
    }

    fn ignores(&self, path: &str, directory: bool) -> bool {
        self.0.iter().any(|rule| rule.ignores(path, directory))
    }
}

impl IgnoreRule {
    fn ignores(&self, path: &str, directory: bool) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        let subject = if self.whole_path { path } else { name };
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        let matches =
            (directory || !self.directories_only) && self.pattern.matches_with(subject, options);
        matches != self.negated
    }

    fn parse(line: &str) -> Result<IgnoreRule, String> {
        if line.contains("**") {
            return Err("has **, which Helm does not know".to_owned());
        }
        let (negated, rest) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        let trimmed = rest.strip_suffix('/').unwrap_or(rest);
        let pattern = trimmed.strip_prefix('/').unwrap_or(trimmed);
        let compiled =
            glob::Pattern::new(pattern).map_err(|error| format!("is not a pattern: {error}"))?;
        Ok(IgnoreRule {
            pattern: compiled,
            negated,
            directories_only: trimmed.len() < rest.len(),
            whole_path: trimmed.contains('/'),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_replaced() {
        let text = "apiVersion: v2\nname: gateway # the name\nversion: \"0.1.0\"\n";
        assert_eq!(field(text, "name").unwrap(), "gateway");
        assert_eq!(field(text, "version").unwrap(), "0.1.0");
        let text = set_field(text, "version", Some("2.0.0"));
        let text = set_field(&text, "appVersion", Some("1"));
        assert_eq!(
            text,
            "apiVersion: v2\nname: gateway # the name\nversion: \"2.0.0\"\nappVersion: \"1\"\n"
        );
    }

    #[test]
    fn ignore_rules_follow_helm() {
        let parse = |rules: &[&str]| {
            IgnoreRules(
                rules
                    .iter()
                    .map(|rule| IgnoreRule::parse(rule).unwrap())
                    .collect(),
            )
        };
        let rules = parse(&["*.bak", ".git/", "/docs/x.md", "templates/.?*"]);
        assert!(rules.ignores("a/b.bak", false));
        assert!(parse(&["!*.yaml"]).ignores("a.txt", false));
        assert!(!parse(&["!*.yaml"]).ignores("a.yaml", false));
        assert!(rules.ignores(".git", true));
        assert!(!rules.ignores(".git", false));
        assert!(rules.ignores("docs/x.md", false));
        assert!(!rules.ignores("a/docs/x.md", false));
        assert!(rules.ignores("templates/.hidden", false));
        assert!(IgnoreRule::parse("a/**").is_err());
    }
}
