# The downloads of an images.toml: those of [parts], and the `downloads` of images, variants and
# crates. The latter are parts too, with names that nobody can write (crates/description,
# `own_part.rs`).
#
# Gives: { named, own }, each of which maps names of parts to { file, place, entries }
#   file     the name of the file in the store, after `download-`
#   place    the part's place in images.toml, for messages
#   entries  its downloads: one for all architectures, or one for each
#
# images.toml: a value.
toml:
let
  listOf = download: if builtins.isList download then download else [ download ];
  # A path without slashes around it.
  trimmed =
    path:
    let
      inner = builtins.match "/*(.*[^/])/*" path;
    in
    if inner == null then "" else builtins.head inner;
  # The path of a download: with `from` and `/` at its end, that of the file in the directory.
  pathOf =
    { path, from ? "", ... }:
    if from != "" && builtins.match ".*/" path != null then
      "${path}${builtins.baseNameOf (trimmed from)}"
    else
      path;
  nameOf = table: path: "${table}:${builtins.replaceStrings [ "/" ] [ ":" ] (trimmed path)}";
  fileOf =
    path:
    let
      last = builtins.baseNameOf (trimmed path);
    in
    if builtins.match "[a-zA-Z0-9+._?=-]{1,100}" last == null then "file" else last;
  # The downloads of a table of that name. The entries with one path are one part.
  ofTable =
    table: fields:
    builtins.mapAttrs (
      _: entries:
      let
        path = pathOf (builtins.head entries);
      in
      {
        file = fileOf path;
        place = "`${path}`";
        inherit entries;
      }
    ) (builtins.groupBy (entry: nameOf table (pathOf entry)) (fields.downloads or [ ]));
  # Applies a function to each name and value.
  each = f: set: map (name: f name set.${name}) (builtins.attrNames set);
  ofImage =
    name: image:
    [ (ofTable "images.${name}" image) ]
    ++ each (variant: ofTable "images.${name}-${variant}") (image.variants or { });
  join = builtins.foldl' (all: some: all // some) { };
in
{
  named = builtins.mapAttrs (name: part: {
    file = name;
    place = "[parts.${name}]";
    entries = listOf part.download;
  }) (import ../select.nix (part: part ? download) (toml.parts or { }));
  own = join (
    builtins.concatLists (each ofImage (toml.images or { }))
    ++ each (name: ofTable "crates.${name}") (toml.crates or { })
  );
}
