# The parts of an images.toml that are downloaded: [parts.NAME] with `download`, and `downloads` of
# images and crates.
{
  # images.toml: a value.
  toml,
  # ../seed/cell.nix.
  cell,
  # A root file system with sh, coreutils and cmake.
  tools,
}:
let
  all = import ./all.nix toml;
  downloaded = all.named // all.own;
  # A part's download for an architecture.
  entryFor =
    architecture: part:
    let
      fits = entry: (entry.architecture or architecture) == architecture;
      fitting = builtins.filter fits part.entries;
      entry = builtins.head fitting;
    in
    if fitting == [ ] then
      throw (
        "images.toml: ${part.place} has no download for ${architecture}: "
        + "add one with `architecture = \"${architecture}\"`"
      )
    else if !(entry ? sha256) then
      throw (
        "images.toml: the download of ${part.place} has no `sha256`: "
        + "run `assemble lock`, which adds it"
      )
    else
      entry;
  partOf = import ./part.nix { inherit cell tools; };
in
{
  # Those of [parts], by name.
  inherit (all) named;
  # Maps Debian's name of an architecture to the parts for it, and these from names to derivations.
  partsFor =
    architecture:
    builtins.mapAttrs (
      _: part: partOf { inherit (part) file place; } (entryFor architecture part)
    ) downloaded;
  # Maps the same name to the downloads of these parts: names to { url, sha256 }.
  entriesFor =
    architecture:
    builtins.mapAttrs (_: part: { inherit (entryFor architecture part) url sha256; }) downloaded;
}
