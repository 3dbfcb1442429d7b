//! The stages that are images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::base_context;
use super::names::Names;
use super::text::{
    copy_words, docker_word, exec_form, has_lines, heredoc, is_plain, paths_form, shell_word,
    volumes_form,
};
use description::normal::{
    Base, Config, Content, Description, Entry, Healthcheck, Image, LayerContent,
};
use description::{Found, Sources, last_part};

/// A stage for each image, and one before it where something in it needs a shell to make.
pub(super) fn stages(description: &Description, sources: &Sources, names: &Names) -> String {
    let staging = |image: &Image| match staged(image).is_empty() {
        true => String::new(),
        false => staging(image, names),
    };
    let stage = |image: &Image| staging(image) + &stage(image, sources, names);
    let stages: Vec<String> = description.images.values().map(stage).collect();
    stages.join("\n")
}

fn entries(image: &Image) -> impl Iterator<Item = &Entry> {
    image.layers.iter().flat_map(|layer| match &layer.content {
        LayerContent::Files { entries } => entries.as_slice(),
        LayerContent::Packages { .. } => &[],
    })
}

/// The directories that are not 0755 where nobody declares them and something lies below: as in `crates/image`, `layer/tree.rs`.
const SPECIAL_DIRECTORIES: [(&str, &str); 3] =
    [("/root", "0700"), ("/tmp", "1777"), ("/var/tmp", "1777")];

/// Directories, links and charts, which no instruction of a Dockerfile makes, by the directory that they are in. Each of those is
/// copied for itself: of one tree, the directories on the way would take the place of those that the image has, with other modes.
fn staged(image: &Image) -> BTreeMap<String, Vec<Entry>> {
    let mut staged: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in special_directories(image)
        .into_iter()
        .chain(entries(image).cloned())
    {
        let directory = match &entry.content {
            Content::Chart { .. } if entry.path.ends_with('/') => entry.path.trim_end_matches('/'),
            Content::Directory | Content::Symlink { .. } | Content::Chart { .. } => {
                entry.path.rsplit_once('/').map_or("", |(parent, _)| parent)
            }
            _ => continue,
        };
        let directory = directory.to_owned();
        staged.entry(directory).or_default().push(entry);
    }
    staged
}

/// Those of them that an image implies.
fn special_directories(image: &Image) -> Vec<Entry> {
    let is_implied = |directory: &str| {
        let mut below = entries(image).filter_map(|entry| entry.path.strip_prefix(directory));
        let is_declared = entries(image).any(|entry| entry.path == directory);
        !is_declared && below.any(|rest| rest.starts_with('/'))
    };
    let implied = SPECIAL_DIRECTORIES
        .iter()
        .filter(|(directory, _)| is_implied(directory));
    let entry = |(path, mode): &(&str, &str)| Entry {
        path: (*path).to_owned(),
        content: Content::Directory,
        mode: Some((*mode).to_owned()),
        uid: 0,
        gid: 0,
        replace: false,
    };
    implied.map(entry).collect()
}

/// Where the things of one directory are put together.
fn staging_directory(number: usize) -> String {
    format!("/files/{}", number + 1)
}

/// The stage that makes what is copied so.
fn staging(image: &Image, names: &Names) -> String {
    let charts = charts(image);
    let mut script = String::from("set -eu\n");
    for (number, entries) in staged(image).values().enumerate() {
        let directory = staging_directory(number);
        let _ = writeln!(script, "mkdir -p {directory}");
        let commands = entries
            .iter()
            .map(|entry| command(entry, &directory, &charts) + "\n");
        script.extend(commands);
    }
    let copies: String = charts
        .iter()
        .enumerate()
        .map(|(number, chart)| {
            let to = chart_directory(number) + "/";
            format!("COPY {}\n", copy_words(&[chart], &to))
        })
        .collect();
    let (script, end) = heredoc(&script);
    format!(
        "FROM {} AS {}\n{copies}RUN <<'{end}'\n{script}\n",
        names.own("toolchain"),
        names.files(&image.name)
    )
}

/// The charts of an image, each once.
fn charts(image: &Image) -> Vec<&str> {
    let charts = entries(image).filter_map(|entry| match &entry.content {
        Content::Chart { source } => Some(source.as_str()),
        _ => None,
    });
    let charts: BTreeSet<&str> = charts.collect();
    charts.into_iter().collect()
}

/// Where the files of a chart are while it is packaged.
fn chart_directory(number: usize) -> String {
    format!("/charts/{}", number + 1)
}

/// Makes a thing in the directory where it is put.
fn command(entry: &Entry, directory: &str, charts: &[&str]) -> String {
    let name = entry.path.rsplit('/').next().unwrap_or_default();
    let to = shell_word(&format!("{directory}/{name}"));
    let place = |source: &str| {
        let number = charts.iter().position(|chart| *chart == source);
        chart_directory(number.unwrap_or_default())
    };
    match &entry.content {
        Content::Directory => {
            let mode = entry.mode.as_deref().unwrap_or("0755");
            let (uid, gid) = (entry.uid, entry.gid);
            format!("install -d -m {mode} -o {uid} -g {gid} {to}")
        }
        Content::Symlink { target } => format!("ln -s {} {to}", shell_word(target)),
        Content::Chart { source } if name.is_empty() => package_chart(
            &place(source),
            &format!("{directory}/\"$name-$version.tgz\""),
        ),
        Content::Chart { source } => package_chart(&place(source), &to),
        _ => String::new(),
    }
}

/// As `helm package`, but with the same bytes every time: `Chart.yaml` first, then all files by path.
fn package_chart(place: &str, to: &str) -> String {
    format!(
        r#"cd {place}
field() {{ sed -n "s/^$1:[[:space:]]*[\"']\{{0,1\}}\([^\"'[:space:]]*\).*/\1/p" Chart.yaml; }}
name=$(field name) version=$(field version)
{{ echo Chart.yaml; find . -type f ! -path ./Chart.yaml | sed 's,^\./,,' | LC_ALL=C sort; }} |
  tar -c --format=ustar --no-recursion --files-from=- --transform="s,^,$name/," --mtime=@0 \
    --owner=0 --group=0 --numeric-owner --mode=0644 |
  gzip -n > {to}"#
    )
}

fn stage(image: &Image, sources: &Sources, names: &Names) -> String {
    let mut out = format!("FROM {} AS {}\n", base(image), names.image(&image.name));
    for (number, directory) in staged(image).keys().enumerate() {
        let [from, to] = [staging_directory(number), directory.to_string()].map(|path| path + "/");
        let paths = paths_form(&[&from], &to);
        let _ = writeln!(out, "COPY --from={} {paths}", names.files(&image.name));
    }
    for (number, entry) in entries(image).enumerate() {
        out += &copy(entry, number, sources, names);
    }
    out + &config(&image.config, image.tags.first().map_or("", String::as_str))
}

fn base(image: &Image) -> String {
    match &image.base {
        Base::None => base_context(image).unwrap_or_else(|| "scratch".to_string()),
        Base::Layout { .. } => format!("{}-base-image", image.name),
        Base::Reference { reference, digest } => format!("{reference}@{digest}"),
    }
}

fn copy(entry: &Entry, number: usize, sources: &Sources, names: &Names) -> String {
    let to = &entry.path;
    let owner = match (entry.uid, entry.gid) {
        (0, 0) => String::new(),
        (uid, gid) => format!("--chown={uid}:{gid} "),
    };
    let mode = letters(entry.mode.as_deref().unwrap_or("0644"), false);
    let instruction = match &entry.content {
        Content::Text { text } => {
            let (text, end) = heredoc(text);
            // A heredoc has no exec form; a variable is one word, whatever is in it.
            let (variable, to) = match is_plain(to) {
                true => (String::new(), to.clone()),
                false => (
                    format!("ARG TO_{number}={}\n", docker_word(to)),
                    format!("${{TO_{number}}}"),
                ),
            };
            return format!("{variable}COPY {owner}--chmod={mode} <<'{end}' {to}\n{text}");
        }
        Content::Source { source } => {
            let directory = matches!(sources.find(source), Found::Directory(_));
            let mode = source_mode(entry.mode.as_deref(), directory);
            format!("{owner}--chmod={mode} {}", paths_form(&[source], to))
        }
        Content::Binary(binary) => {
            let from = format!("/out/{}", names.program(binary));
            let words = copy_words(&[&from], to);
            format!(
                "--from={} {owner}--chmod={mode} {words}",
                names.binary(binary)
            )
        }
        Content::Image { image, .. } => {
            let words = copy_words(&[&format!("/{image}.tar")], to);
            format!("--from=bundle {owner}--chmod={mode} {words}")
        }
        Content::Directory | Content::Symlink { .. } | Content::Chart { .. } => {
            return String::new();
        }
    };
    format!("COPY {instruction}\n")
}

/// Without a mode files keep whether they are executable, whatever the umask they were checked out with. Directories can
/// always be entered.
fn source_mode(mode: Option<&str>, directory: bool) -> String {
    match mode {
        Some(mode) => letters(mode, directory),
        None => "u=rwX,go=rX".to_string(),
    }
}

/// An octal mode in letters. An octal one would also be that of the directories which are missing on the way to the file.
///
/// The files of a directory get the mode; so do the directories in it, which must be entered all the same.
fn letters(octal: &str, directory: bool) -> String {
    let bits = u32::from_str_radix(octal, 8).unwrap_or(0o644);
    let enter = match directory && bits & 0o111 == 0 {
        true => "X",
        false => "",
    };
    let who = |name: &str, shift: u32, special: bool| {
        let mut letters = format!("{name}=");
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            if (bits >> shift) & bit == bit {
                letters.push(letter);
            }
        }
        letters.push_str(enter);
        if special {
            letters.push('s');
        }
        letters
    };
    let mut modes = vec![
        who("u", 6, bits & 0o4000 != 0),
        who("g", 3, bits & 0o2000 != 0),
        who("o", 0, false),
    ];
    if bits & 0o1000 != 0 {
        modes.push("+t".to_string());
    }
    modes.join(",")
}

fn config(config: &Config, version: &str) -> String {
    let mut out = String::new();
    for (argument, _) in lines_of(config) {
        let _ = writeln!(out, "ARG {argument}");
    }
    for (number, variable) in config.env.iter().enumerate() {
        let value = word_or_argument(&variable.value, &lines_argument("ENV", number));
        let _ = writeln!(out, "ENV {}={value}", label_name(&variable.name));
    }
    if let Some(directory) = &config.working_dir {
        let directory = match is_plain(directory) {
            true => directory.clone(),
            false => docker_word(directory),
        };
        let _ = writeln!(out, "WORKDIR {directory}");
    }
    if let Some(user) = &config.user {
        let _ = writeln!(out, "USER {user}");
    }
    if !config.exposed_ports.is_empty() {
        let _ = writeln!(out, "EXPOSE {}", config.exposed_ports.join(" "));
    }
    if !config.volumes.is_empty() {
        let _ = writeln!(out, "VOLUME {}", volumes_form(&config.volumes));
    }
    if let Some(signal) = &config.stop_signal {
        let _ = writeln!(out, "STOPSIGNAL {signal}");
    }
    if let Some(check) = &config.healthcheck {
        out += &healthcheck(check);
    }
    if let Some(entrypoint) = &config.entrypoint {
        let _ = writeln!(out, "ENTRYPOINT {}", exec_form(entrypoint));
    }
    if let Some(command) = &config.cmd {
        let _ = writeln!(out, "CMD {}", exec_form(command));
    }
    out + &labels(config, version)
}

/// Values of several lines, which no instruction can hold: the names of the arguments that bring them, and the values. The bake file
/// gives them.
pub(super) fn lines_of(config: &Config) -> Vec<(String, &str)> {
    let env = config.env.iter().map(|variable| variable.value.as_str());
    let env = env
        .enumerate()
        .map(|(number, value)| (lines_argument("ENV", number), value));
    let labels = config.labels.values().map(String::as_str).enumerate();
    let labels = labels.map(|(number, value)| (lines_argument("LABEL", number), value));
    env.chain(labels)
        .filter(|(_, value)| has_lines(value))
        .collect()
}

fn lines_argument(kind: &str, number: usize) -> String {
    format!("LINES_{kind}_{}", number + 1)
}

fn word_or_argument(value: &str, argument: &str) -> String {
    match has_lines(value) {
        true => format!("\"${{{argument}}}\""),
        false => docker_word(value),
    }
}

/// Last, and the version in an argument: a new version is nothing but a new configuration.
fn labels(config: &Config, version: &str) -> String {
    if config.labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = config
        .labels
        .iter()
        .enumerate()
        .map(|(number, (name, value))| match name.as_str() {
            "org.opencontainers.image.version" if value == version => {
                format!("{name}=\"${{VERSION}}\"")
            }
            _ => {
                let value = word_or_argument(value, &lines_argument("LABEL", number));
                format!("{}={value}", label_name(name))
            }
        })
        .collect();
    format!("ARG VERSION\nLABEL {}\n", labels.join(" \\\n      "))
}

fn label_name(name: &str) -> String {
    match name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
    {
        true => name.to_string(),
        false => docker_word(name),
    }
}

fn healthcheck(check: &Healthcheck) -> String {
    let Some((_, command)) = check.test.split_first().filter(|(kind, _)| *kind == "CMD") else {
        return "HEALTHCHECK NONE\n".to_string();
    };
    let mut out = String::from("HEALTHCHECK");
    let times = [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start-period", check.start_period),
    ];
    for (name, nanoseconds) in times {
        if let Some(nanoseconds) = nanoseconds {
            let _ = write!(out, " --{name}={}ms", nanoseconds / 1_000_000);
        }
    }
    if let Some(retries) = check.retries {
        let _ = write!(out, " --retries={retries}");
    }
    format!("{out} CMD {}\n", exec_form(command))
}

/// The archives that the stage of an image copies from the context `bundle`.
pub(super) fn bundled(description: &Description) -> Vec<&str> {
    let mut names: Vec<&str> = description
        .images
        .values()
        .flat_map(|image| &image.images)
        .map(String::as_str)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The sources that images copy, for the ignore file.
pub(super) fn copied(description: &Description) -> Vec<&str> {
    let entries = description.images.values().flat_map(entries);
    let mut copied: Vec<&str> = entries
        .filter_map(|entry| match &entry.content {
            Content::Source { source } | Content::Chart { source } => Some(source.as_str()),
            _ => None,
        })
        .collect();
    copied.sort_unstable();
    copied.dedup();
    copied
}

/// The name that an archive's file has in the context `bundle`.
pub(super) fn archive(image: &str) -> String {
    format!("{}.tar", last_part(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_letters() {
        for (octal, directory, expected) in [
            ("0644", false, "u=rw,g=r,o=r"),
            ("0755", false, "u=rwx,g=rx,o=rx"),
            ("4750", false, "u=rwxs,g=rx,o="),
            ("1777", true, "u=rwx,g=rwx,o=rwx,+t"),
            ("0640", true, "u=rwX,g=rX,o=X"),
        ] {
            assert_eq!(letters(octal, directory), expected);
        }
    }
}
