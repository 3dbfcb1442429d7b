# The parts of an images.toml that are downloaded: [parts.NAME] with `download`.
{
  # [parts] of images.toml: maps names to fields.
  described,
  # ../seed/cell.nix.
  cell,
  # A root file system with sh, coreutils and cmake.
  tools,
}:
let
  downloaded = import ../select.nix (part: part ? download) described;
  listOf = download: if builtins.isList download then download else [ download ];
  # The fields of a part's download for an architecture.
  entryFor =
    architecture: name:
    let
      fits = entry: (entry.architecture or architecture) == architecture;
      fitting = builtins.filter fits (listOf downloaded.${name}.download);
      entry = builtins.head fitting;
    in
    if fitting == [ ] then
      throw "images.toml: [parts.${name}] has no download for ${architecture}: add one with `architecture = \"${architecture}\"`"
    else if !(entry ? sha256) then
      throw "images.toml: the download of [parts.${name}] has no `sha256`: run `assemble lock`, which adds it"
    else
      entry;
  partOf = import ./part.nix { inherit cell tools; };
in
{
  names = builtins.attrNames downloaded;
  # Maps Debian's name of an architecture to the parts for it, and these from names to derivations.
  partsFor = architecture: builtins.mapAttrs (name: _: partOf name (entryFor architecture name)) downloaded;
  # Maps the same name to the downloads of these parts: names to { url, sha256 }.
  entriesFor =
    architecture:
    builtins.mapAttrs (name: _: { inherit (entryFor architecture name) url sha256; }) downloaded;
}
