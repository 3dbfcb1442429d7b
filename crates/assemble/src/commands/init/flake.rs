//! The flake of a workspace: the whole file, or the lines that an existing flake lacks.

/// The arguments of `mkFlake`. They name the directory of flake.nix, because `self` is the
/// repository's top in some versions of Nix.
const SOURCE: &str = "{ src = ./.; }";

/// Returns the text of a flake that only has images.
pub fn whole(crateyard: &str) -> String {
    format!(
        "{{\n  description = \"Container images of this workspace\";\n\n  inputs.crateyard.url = \
         \"{crateyard}\";\n\n  outputs = {{ self, crateyard }}: crateyard.lib.mkFlake \
         {SOURCE};\n}}\n"
    )
}

/// Whether the text of a flake already uses Crateyard.
pub fn is_complete(text: &str) -> bool {
    ["crateyard.lib.", ".lib.mkFlake", ".lib.addImages"]
        .iter()
        .any(|call| text.contains(call))
}

/// Returns the lines to add to a flake that has other outputs.
pub fn lines_to_add(crateyard: &str) -> [String; 4] {
    [
        format!("inputs.crateyard.url = \"{crateyard}\";"),
        "# Give `outputs` the argument crateyard, and pass its present result as the last argument:"
            .to_owned(),
        "outputs = { self, crateyard, … }:".to_owned(),
        format!("  crateyard.lib.addImages {SOURCE} ( … );"),
    ]
}
