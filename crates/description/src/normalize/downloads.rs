//! Checks that each download has its hash, and that each image has downloads for its platforms.

use std::collections::BTreeSet;

use crate::model::{Content, Description, Download};
use crate::problem::Problem;
use crate::value::Platform;

impl Description {
    /// Reports the downloads without a hash.
    pub(super) fn unpinned_downloads(&self) -> Vec<Problem> {
        let problem = |(part, download): (&str, &Download)| {
            let message = format!("the download of [parts.{part}] has no `sha256`");
            let problem = self.source.problem(download.url.span(), message);
            problem.help("run `assemble lock`, which downloads the file and adds its hash here")
        };
        self.unpinned().map(problem).collect()
    }

    /// Reports the platforms of images for which one of their parts has no download.
    pub(super) fn missing_downloads(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for image in self.images.values() {
            let platforms = self.platforms(image);
            for file in image.fields.files.iter().flatten() {
                let Content::Part { name, .. } = file.content.get_ref() else {
                    continue;
                };
                let Some(downloads) = self.downloads.get(name) else {
                    continue;
                };
                let known = downloads.iter().map(|it| it.architecture.as_deref());
                let known: BTreeSet<Option<&str>> = known.collect();
                let lacks =
                    |it: &&Platform| !known.contains(&None) && !known.contains(&Some(it.debian()));
                problems.extend(platforms.iter().filter(lacks).map(|platform| {
                    let architecture = platform.debian();
                    let message = format!(
                        "the part `{name}` has no download for `{architecture}`, and the image \
                         `{}` is for {platform}",
                        image.name.get_ref()
                    );
                    let problem = self.source.problem(file.content.span(), message);
                    problem.help(format!(
                        "add `{{ architecture = \"{architecture}\", url = \"https://…\" }}` to the \
                         `download` of [parts.{name}]"
                    ))
                }));
            }
        }
        problems
    }
}
