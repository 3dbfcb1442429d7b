//! Checks that each download has its hash, and that each image has downloads for its platforms.

use std::collections::BTreeSet;

use crate::model::{Content, Description, Download, DownloadedPart};
use crate::own_part;
use crate::problem::Problem;
use crate::value::TargetPlatform;

impl Description {
    /// Reports the downloads without a hash.
    pub(super) fn unpinned_downloads(&self) -> Vec<Problem> {
        let problem = |(part, download): (&DownloadedPart, &Download)| {
            let message = format!("the download of {} has no `sha256`", part.place);
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
            for file in image.fields.all_files() {
                let Content::Part { name, .. } = file.content.get_ref() else {
                    continue;
                };
                let Some(part) = self.downloads.get(name) else {
                    continue;
                };
                let known = part.downloads.iter().map(|it| it.architecture.as_deref());
                let known: BTreeSet<Option<&str>> = known.collect();
                let lacks = |it: &&TargetPlatform| {
                    !known.contains(&None) && !known.contains(&Some(it.debian()))
                };
                problems.extend(platforms.iter().filter(lacks).map(|platform| {
                    let architecture = platform.debian();
                    let said = match own_part::is_own(name) {
                        true => format!("there is no download to {}", part.place),
                        false => format!("the part `{name}` has no download"),
                    };
                    let message = format!(
                        "{said} for `{architecture}`, and the image `{}` is for {platform}",
                        image.name.get_ref()
                    );
                    let problem = self.source.problem(file.content.span(), message);
                    let fields = format!("architecture = \"{architecture}\", url = \"https://…\"");
                    problem.help(match own_part::is_own(name) {
                        true => format!("add `{{ {fields}, path = … }}` to `downloads`"),
                        false => {
                            format!("add `{{ {fields} }}` to the `download` of {}", part.place)
                        }
                    })
                }));
            }
        }
        problems
    }
}
