//! Writes the stages that are images.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::config;
use super::names::Names;
use super::text::{
    copy_words, docker_word, fits_heredoc, heredoc, is_plain, paths_form, printf, shell_word,
};
use super::{Project, base_context};
use crateyard_description::normal::{Base, Description, Image, Placeholder, Source};
use crateyard_description::{Found, Sources, last_part};
use crateyard_spec::{DirectorySource, ImageArchiveSource, Mode, SPECIAL_DIRECTORIES, TextSource};

/// Returns a stage for each image, and a stage before it if the image has entries that only a shell
/// can make.
pub(super) fn stages(
    description: &Description,
    project: &Project,
    sources: &Sources,
    names: &Names,
) -> String {
    let staging = |image: &Image| match staged(image).is_empty() {
        true => String::new(),
        false => staging(image, names),
    };
    let stage = |image: &Image| staging(image) + &stage(image, project, sources, names);
    let stages: Vec<String> = description.images.values().map(stage).collect();
    stages.join("\n")
}

/// Returns directories, links, charts, and texts that no heredoc can hold, which no Dockerfile
/// instruction makes, by parent directory. Each parent is copied separately: copying a whole tree
/// would also replace the image's own directories on the way, and their modes.
fn staged(image: &Image) -> BTreeMap<String, Vec<Source>> {
    let mut staged: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for source in special_directories(image)
        .into_iter()
        .chain(image.sources().cloned())
    {
        let directory = match &source {
            Source::Chart(chart) if chart.to.ends_with('/') => chart.to.trim_end_matches('/'),
            Source::Text(text) if fits_heredoc(&text.text) => continue,
            Source::Directory(_) | Source::Symlink(_) | Source::Chart(_) | Source::Text(_) => {
                let parent = source.to().and_then(|to| to.rsplit_once('/'));
                parent.map_or("", |(parent, _)| parent)
            }
            _ => continue,
        };
        staged.entry(directory.to_owned()).or_default().push(source);
    }
    staged
}

/// Returns the directories with a special mode that an image implies.
fn special_directories(image: &Image) -> Vec<Source> {
    let files = image.layers.iter().filter(|layer| !layer.has_packages());
    let paths: Vec<&str> = files
        .flat_map(|layer| &layer.sources)
        .filter_map(Source::to)
        .collect();
    let is_implied = |directory: &str| {
        let mut below = paths.iter().filter_map(|path| path.strip_prefix(directory));
        !paths.contains(&directory) && below.any(|rest| rest.starts_with('/'))
    };
    let implied = SPECIAL_DIRECTORIES
        .into_iter()
        .filter(|(directory, _)| is_implied(directory));
    let source = |(path, mode): (&str, Mode)| {
        Source::Directory(DirectorySource {
            to: path.to_owned(),
            mode: Some(mode),
            uid: 0,
            gid: 0,
        })
    };
    implied.map(source).collect()
}

/// Returns the path where the contents of one directory are assembled.
fn staging_directory(number: usize) -> String {
    format!("/files/{}", number + 1)
}

/// Returns the stage that assembles these directories.
fn staging(image: &Image, names: &Names) -> String {
    let charts = charts(image);
    let mut script = String::from("set -eu\n");
    for (number, entries) in staged(image).values().enumerate() {
        let directory = staging_directory(number);
        let _ = writeln!(script, "mkdir -p {directory}");
        let commands = entries
            .iter()
            .map(|source| command(source, &directory, &charts) + "\n");
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

/// Returns the charts of an image, without duplicates.
fn charts(image: &Image) -> Vec<&str> {
    let charts: BTreeSet<&str> = image.charts().collect();
    charts.into_iter().collect()
}

/// Returns the path of a chart's files while it is packaged.
fn chart_directory(number: usize) -> String {
    format!("/charts/{}", number + 1)
}

/// Returns the command that makes an entry of a directory.
fn command(source: &Source, directory: &str, charts: &[&str]) -> String {
    let path = source.to().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let to = shell_word(&format!("{directory}/{name}"));
    match source {
        Source::Directory(DirectorySource { mode, uid, gid, .. }) => {
            let mode = mode.unwrap_or(Mode(0o755));
            format!("install -d -m {mode} -o {uid} -g {gid} {to}")
        }
        Source::Symlink(link) => format!("ln -s {} {to}", shell_word(&link.target)),
        Source::Text(text) => {
            let (mode, uid, gid) = (text.mode.unwrap_or(Mode(0o644)), text.uid, text.gid);
            format!(
                "{} > {to}; chown {uid}:{gid} {to}; chmod {mode} {to}",
                printf(&text.text)
            )
        }
        Source::Chart(chart) => {
            let from = chart.from.workspace_path().unwrap_or_default();
            let number = charts.iter().position(|chart| *chart == from);
            let place = chart_directory(number.unwrap_or_default());
            match name {
                "" => package_chart(&place, &format!("{directory}/\"$name-$version.tgz\"")),
                _ => package_chart(&place, &to),
            }
        }
        _ => String::new(),
    }
}

/// Returns the commands that package a chart as `helm package` does, but always with the same
/// bytes: `Chart.yaml` first, then all files by path.
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

fn stage(image: &Image, project: &Project, sources: &Sources, names: &Names) -> String {
    let base = base(image, project);
    let mut out = format!("FROM {base} AS {}\n", names.image(&image.name));
    for (number, directory) in staged(image).keys().enumerate() {
        let [from, to] = [staging_directory(number), directory.clone()].map(|path| path + "/");
        let paths = paths_form(&[&from], &to);
        let _ = writeln!(out, "COPY --from={} {paths}", names.files(&image.name));
    }
    let files = image.layers.iter().filter(|layer| !layer.has_packages());
    for (number, source) in files.flat_map(|layer| &layer.sources).enumerate() {
        out += &copy(source, number, sources, names);
    }
    out + &config::instructions(&image.config, image.tags.first().map_or("", String::as_str))
}

fn base(image: &Image, project: &Project) -> String {
    match &image.base {
        Base::None => base_context(image, project).unwrap_or_else(|| "scratch".to_string()),
        Base::Layout { .. } => format!("{}-base-image", image.name),
        Base::Reference { reference, digest } => format!("{reference}@{digest}"),
    }
}

/// Returns the instruction for a source; it is empty if the base or the stage with directories has
/// the source already.
fn copy(source: &Source, number: usize, sources: &Sources, names: &Names) -> String {
    match source {
        Source::Text(text) if fits_heredoc(&text.text) => copy_text(text, number),
        Source::Copy(it) => {
            let from = it.from.workspace_path().unwrap_or_default();
            let directory = matches!(sources.find(from), Found::Directory(_));
            let mode = source_mode(it.mode, directory);
            let owner = owner(it.uid, it.gid);
            format!(
                "COPY {owner}--chmod={mode} {}\n",
                paths_form(&[from], &it.to)
            )
        }
        Source::File(file) => match &file.from {
            Placeholder::Program(binary) => {
                let from = format!("/out/{}", names.program(binary));
                let mode = letters(file.mode.unwrap_or(Mode(0o755)), false);
                let owner = owner(file.uid, file.gid);
                let words = copy_words(&[&from], &file.to);
                let stage = names.binary(binary);
                format!("COPY --from={stage} {owner}--chmod={mode} {words}\n")
            }
            _ => String::new(),
        },
        Source::ImageArchive(ImageArchiveSource {
            from: Placeholder::Image { name },
            to,
            ..
        }) => {
            let words = copy_words(&[&format!("/{name}.tar")], to);
            let mode = letters(Mode(0o644), false);
            format!("COPY --from=bundle --chmod={mode} {words}\n")
        }
        Source::Text(_)
        | Source::Debian(_)
        | Source::CaCertificates(_)
        | Source::Tree(_)
        | Source::ImageArchive(_)
        | Source::Directory(_)
        | Source::Symlink(_)
        | Source::Chart(_)
        | Source::Step(_) => String::new(),
    }
}

fn copy_text(text: &TextSource, number: usize) -> String {
    let to = &text.to;
    let mode = letters(text.mode.unwrap_or(Mode(0o644)), false);
    let owner = owner(text.uid, text.gid);
    let (content, end) = heredoc(&text.text);
    // A heredoc has no exec form. A variable is one word, no matter what its value is.
    let (variable, to) = match is_plain(to) {
        true => (String::new(), to.clone()),
        false => (
            format!("ARG TO_{number}={}\n", docker_word(to)),
            format!("${{TO_{number}}}"),
        ),
    };
    format!("{variable}COPY {owner}--chmod={mode} <<'{end}' {to}\n{content}")
}

fn owner(uid: u32, gid: u32) -> String {
    match (uid, gid) {
        (0, 0) => String::new(),
        (uid, gid) => format!("--chown={uid}:{gid} "),
    }
}

/// Returns the mode of a source for `COPY`. Without a mode, files keep their executable bit,
/// whatever umask the checkout had. Directories can always be entered.
fn source_mode(mode: Option<Mode>, directory: bool) -> String {
    match mode {
        Some(mode) => letters(mode, directory),
        None => "u=rwX,go=rX".to_string(),
    }
}

/// Returns a mode in letters. An octal mode would also apply to missing parent directories of the
/// file.
///
/// The files of a directory get the mode. So do its subdirectories, but they can always be entered.
fn letters(Mode(bits): Mode, directory: bool) -> String {
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

/// Returns the images whose archives other images copy from the context `bundle`.
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

/// Returns the sources that images copy, for the ignore file.
pub(super) fn copied(description: &Description) -> Vec<&str> {
    let images = description.images.values();
    let mut copied: Vec<&str> = images
        .flat_map(|image| image.copied().chain(image.charts()))
        .collect();
    copied.sort_unstable();
    copied.dedup();
    copied
}

/// Returns the file name of an image's archive in the context `bundle`.
pub(super) fn archive(image: &str) -> String {
    format!("{}.tar", last_part(image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_letters() {
        for (octal, directory, expected) in [
            (0o644, false, "u=rw,g=r,o=r"),
            (0o755, false, "u=rwx,g=rx,o=rx"),
            (0o4750, false, "u=rwxs,g=rx,o="),
            (0o1777, true, "u=rwx,g=rwx,o=rwx,+t"),
            (0o640, true, "u=rwX,g=rX,o=X"),
        ] {
            assert_eq!(letters(Mode(octal), directory), expected);
        }
    }
}
