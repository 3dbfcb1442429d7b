# The files of derivations that evaluation reads (import from derivation). A workspace may keep them
# in the directory plan.lock, which `assemble plan --write` makes; then evaluation builds nothing.
#
# Each file there is named after the derivation that it replaces. So it is read only for exactly the
# manifests, lock, file names and programs that it was made from, and never for others.
#
# An item is { derivation, path, name }: the derivation, the file in its output, and the file's
# name.
#
# Gives: { read, links, pairs }
#   read   maps an item to its text, without context
#   links  maps items to the entries of plan.lock: names to paths, for a directory of links
#   pairs  maps items to { built, kept } each, for a check: ./same-bytes.nix
{
  # The directory plan.lock, which need not exist: a path; null to read nothing there.
  kept,
}:
let
  directory = kept;
  isThere = directory != null && builtins.pathExists directory;
  keyOf =
    { derivation, name, ... }:
    let
      file = builtins.baseNameOf (builtins.unsafeDiscardStringContext derivation.drvPath);
    in
    "${builtins.substring 0 32 file}-${name}";
  isKept = item: isThere && builtins.pathExists (directory + "/${keyOf item}");
  fileOf =
    key:
    builtins.path {
      name = "kept";
      path = directory + "/${key}";
    };
  nothing = builtins.toFile "nothing" "";
in
{
  read =
    item:
    if isKept item then
      builtins.readFile (directory + "/${keyOf item}")
    else
      let
        text = builtins.unsafeDiscardStringContext (builtins.readFile item.path);
      in
      if isThere then
        builtins.trace (
          "plan.lock lacks ${keyOf item}: run `assemble plan --write` and commit plan.lock"
        ) text
      else
        text;
  links =
    items:
    builtins.listToAttrs (
      map (item: {
        name = "plan.lock/${keyOf item}";
        value = item.path;
      }) items
    );
  pairs =
    items:
    let
      wanted = map keyOf items;
      others = builtins.filter (key: !(builtins.elem key wanted)) (
        builtins.attrNames (builtins.readDir directory)
      );
    in
    map (item: {
      built = item.path;
      kept = if isKept item then fileOf (keyOf item) else nothing;
    }) items
    ++ map (key: {
      built = nothing;
      kept = fileOf key;
    }) others;
}
