# The files of a package that Cargo may take for targets, whatever is in them.
{
  # The workspace: a path.
  root,
  # Directory of the package, and its parsed manifest.
  directory,
  manifest,
}:
let
  at = path: if directory == "" then path else "${directory}/${path}";
  entriesOf =
    path:
    let
      full = root + "/${at path}";
    in
    if builtins.pathExists full then builtins.readDir full else { };
  isRust = name: builtins.match ".*\\.rs" name != null;
  # Files of a directory, and `main.rs` of the directories in it.
  discovered =
    path:
    let
      entries = entriesOf path;
    in
    builtins.concatMap (
      name:
      if entries.${name} == "directory" then
        [ "${path}/${name}/main.rs" ]
      else if isRust name then
        [ "${path}/${name}" ]
      else
        [ ]
    ) (builtins.attrNames entries);
  explicit =
    map (target: target.path or null) (
      [ (manifest.lib or { }) ]
      ++ manifest.bin or [ ]
      ++ manifest.test or [ ]
      ++ manifest.bench or [ ]
      ++ manifest.example or [ ]
    )
    ++ [ (manifest.package.build or null) ];
  candidates = [
    "build.rs"
    "src/lib.rs"
    "src/main.rs"
    "README.md"
    "README.txt"
    "README"
  ]
  ++ builtins.concatMap discovered [
    "src/bin"
    "tests"
    "benches"
    "examples"
  ]
  ++ builtins.filter builtins.isString explicit;
in
builtins.filter (path: builtins.pathExists (root + "/${path}")) (map at candidates)
