//! Checks that the workspace has the files that images name.

use crate::model::*;
use crate::problem::{Problem, suggestion};
use crate::sources::{Found, Sources};

impl Description {
    /// Reports sources that are missing, or of the wrong kind.
    pub(super) fn missing_sources(&self, sources: &Sources) -> Vec<Problem> {
        let mut problems = self.attributes_of_directories(sources);
        for image in self.images.values() {
            for file in image.fields.files.iter().flatten() {
                if let Content::Source(source) = file.content.get_ref() {
                    let source = Spanned::new(file.content.span(), source.clone());
                    self.check_source(sources, source.get_ref(), &source, &mut problems);
                }
            }
            for chart in image.fields.charts.iter().flatten() {
                self.check_chart(sources, &chart.source, &mut problems);
            }
            if let Some(base) = &image.fields.base {
                if let Base::Layout { path, .. } = base.get_ref() {
                    let path = Spanned::new(base.span(), path.clone());
                    self.check_directory(
                        sources,
                        &path,
                        "index.json",
                        "an OCI layout",
                        &mut problems,
                    );
                }
            }
        }
        problems
    }

    pub(super) fn check_source(
        &self,
        sources: &Sources,
        path: &str,
        written: &Spanned<String>,
        problems: &mut Vec<Problem>,
    ) {
        if sources.find(path) != Found::Nothing {
            return;
        }
        let beside = sources.beside(path);
        let help = match beside.is_empty() {
            true => "sources are named relative to the workspace's root".to_string(),
            false => suggestion(path, "files beside it", beside.iter().map(String::as_str)),
        };
        let message = format!("there is no `{path}` in the workspace");
        problems.push(self.source.problem(written.span(), message).help(help));
    }

    fn check_chart(&self, sources: &Sources, chart: &Spanned<String>, problems: &mut Vec<Problem>) {
        self.check_directory(sources, chart, "Chart.yaml", "a Helm chart", problems);
    }

    /// Checks a directory that is recognized by a file in it.
    fn check_directory(
        &self,
        sources: &Sources,
        path: &Spanned<String>,
        known_by: &str,
        what: &str,
        problems: &mut Vec<Problem>,
    ) {
        match sources.find(path.get_ref()) {
            Found::Unknown => {}
            Found::Nothing => self.check_source(sources, path.get_ref(), path, problems),
            Found::Directory(files) if files.iter().any(|file| file == known_by) => {}
            _ => {
                let message = format!("`{}` is not {what}: it has no `{known_by}`", path.get_ref());
                problems.push(self.source.problem(path.span(), message));
            }
        }
    }
}
