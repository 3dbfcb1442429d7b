//! The flake of a workspace: the whole file, or the lines that an existing flake lacks.

/// The arguments of `mkFlake`. `self` knows the revision. The source is the directory of flake.nix,
/// because `self` is the repository's top in some versions of Nix.
const SOURCE: &str = "{ inherit self; src = ./.; }";

/// Returns the text of a flake that only has images.
pub fn whole(crateyard: &str) -> String {
    format!(
        "{{\n  description = \"Container images of this workspace\";\n\n  inputs.crateyard.url = \
         \"{crateyard}\";\n\n  outputs = {{ self, crateyard }}: crateyard.lib.mkFlake \
         {SOURCE};\n}}\n"
    )
}

/// Whether the text of a flake already uses Crateyard, whatever it calls that input. flake-parts
/// and others have a function `mkFlake`, too.
pub fn is_complete(text: &str) -> bool {
    let is_called = |call: &str| text.contains(call);
    let others = text.replace("flake-parts.lib.mkFlake", "");
    is_called("crateyard.lib.")
        || is_called(".lib.addImages")
        || (is_called("crateyard") && others.contains(".lib.mkFlake"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flake_of_flake_parts_has_no_images_yet() {
        for complete in [
            "outputs = { self, crateyard }: crateyard.lib.mkFlake { src = ./.; };",
            "inputs.c.url = \"github:crateyard/crateyard\"; outputs = i: i.c.lib.mkFlake { };",
            "outputs = { ours, ... }: ours.lib.addImages { src = ./.; } { };",
        ] {
            assert!(is_complete(complete), "{complete}");
        }
        let parts = "outputs = inputs@{ flake-parts, ... }: flake-parts.lib.mkFlake { } { };";
        assert!(!is_complete(parts));
        assert!(!is_complete(&format!(
            "inputs.crateyard.url = \"x\"; {parts}"
        )));
        assert!(!is_complete("outputs = u: u.utils.lib.mkFlake { };"));
    }
}
