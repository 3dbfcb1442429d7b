//! The flake of a workspace: written whole, or the lines that a flake which is there lacks.

/// The arguments of `mkFlake`. The directory of flake.nix, not `self`: that is the repository's top with some versions of Nix.
const SOURCE: &str = "{ src = ./.; }";

/// A flake that has nothing but images.
pub fn whole(crateyard: &str) -> String {
    format!(
        "{{\n  description = \"Container images of this workspace\";\n\n  inputs.crateyard.url = \"{crateyard}\";\n\n  \
         outputs = {{ self, crateyard }}: crateyard.lib.mkFlake {SOURCE};\n}}\n"
    )
}

/// Whether the text of a flake uses Crateyard already.
pub fn is_complete(text: &str) -> bool {
    ["crateyard.lib.", ".lib.mkFlake", ".lib.addImages"]
        .iter()
        .any(|call| text.contains(call))
}

/// What has to be added to a flake that has other outputs, line by line.
pub fn lines_to_add(crateyard: &str) -> [String; 4] {
    [
        format!("inputs.crateyard.url = \"{crateyard}\";"),
        "# `outputs` is given crateyard too, and all that it makes today is the last argument:"
            .to_owned(),
        "outputs = { self, crateyard, … }:".to_owned(),
        format!("  crateyard.lib.addImages {SOURCE} ( … );"),
    ]
}
