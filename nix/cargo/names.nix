# The names of files that Cargo may look at before it compiles. Their content does not matter, so
# Nix need not plan again after an edit of a source file, nor after a new file that is the main file
# of no target.
#
# Gives: { isSkipped, files }
#   isSkipped  whether a directory or a link, by its path relative to the root, is no part of the
#              workspace: git's own files, Cargo's build results, links of `nix build`, and the kept
#              plan, which would otherwise change itself
#   files      the paths of regular files, relative to the root: those where Cargo looks for targets
#              and documents, and those that a manifest names. If the workspace has symbolic links,
#              targets may lie behind them, so these are all Rust files.
{
  # The workspace: a path.
  root,
}:
let
  join = directory: name: if directory == "" then name else "${directory}/${name}";
  isSkipped =
    path:
    let
      name = builtins.baseNameOf path;
    in
    name == ".git"
    || path == "plan.lock"
    || name == "target" && builtins.pathExists (root + "/${path}/CACHEDIR.TAG")
    || name == path && builtins.match "result(-.*)?" name != null;
  # Regular files and symbolic links: { path, kind } each.
  entriesIn =
    directory:
    let
      entries = builtins.readDir (if directory == "" then root else root + "/${directory}");
      found =
        name:
        let
          path = join directory name;
          kind = entries.${name};
        in
        if kind == "regular" || kind == "symlink" && !(isSkipped path) then
          [ { inherit path kind; } ]
        else if kind == "directory" && !(isSkipped path) then
          entriesIn path
        else
          [ ];
    in
    builtins.concatMap found (builtins.attrNames entries);
  all = entriesIn "";
  pathsOf = kind: map (entry: entry.path) (builtins.filter (entry: entry.kind == kind) all);
  regular = pathsOf "regular";
  hasLinks = pathsOf "symlink" != [ ];
  # https://doc.rust-lang.org/cargo/reference/cargo-targets.html#target-auto-discovery
  # https://doc.rust-lang.org/cargo/reference/manifest.html#the-readme-field
  isUsual = path: builtins.match "(.*/)?(${builtins.concatStringsSep "|" usual})" path != null;
  usual = [
    "src/(lib|main)\\.rs"
    "(src/bin|tests|benches|examples)/[^/]+(/main)?\\.rs"
    "build\\.rs"
    "README(\\.md|\\.txt)?"
  ];
  # Maps the words of manifests that may name a file to true: parts of strings, and these as names
  # of Rust files, where Cargo looks for targets without a path (edition 2015 looks for
  # `src/my_lib.rs` of the package `my-lib`).
  named = builtins.listToAttrs (
    builtins.concatMap (path: wordsIn (builtins.readFile (root + "/${path}"))) manifests
  );
  manifests = builtins.filter (path: builtins.baseNameOf path == "Cargo.toml") regular;
  wordsIn =
    text:
    builtins.concatMap (word: [
      (known word)
      (known "${word}.rs")
      (known "${builtins.replaceStrings [ "-" ] [ "_" ] word}.rs")
    ]) (builtins.filter builtins.isString (builtins.split "[\"'/\n]" text));
  known = name: {
    inherit name;
    value = true;
  };
  isWanted =
    path:
    named ? ${builtins.baseNameOf path}
    || isUsual path
    || hasLinks && builtins.match ".*\\.rs" path != null;
in
{
  inherit isSkipped;
  files = builtins.filter isWanted regular;
}
