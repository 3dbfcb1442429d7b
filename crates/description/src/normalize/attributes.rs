//! Refuses capabilities and extended attributes of directories.

use crate::model::*;
use crate::problem::Problem;
use crate::sources::{Found, Sources};

impl Description {
    /// Reports directories of the workspace with attributes, which only single files can have.
    pub(super) fn attributes_of_directories(&self, sources: &Sources) -> Vec<Problem> {
        let images = self.images.values();
        let files = images.flat_map(|image| image.fields.files.iter().flatten());
        let problem = |file: &File| {
            let key = file.attributes.key.as_ref()?;
            let Content::Source(source) = file.content.get_ref() else {
                return None;
            };
            let Found::Directory(files) = sources.find(source) else {
                return None;
            };
            let name = key.get_ref();
            let message = format!("`{name}` are for one file, and `{source}` is a directory");
            let example = files.first().map_or("FILE", String::as_str);
            let help = format!("give them to an entry for one file, such as `{source}/{example}`");
            Some(self.source.problem(key.span(), message).help(help))
        };
        files.filter_map(problem).collect()
    }
}
