# Expands a pattern of `workspace.members`: components may hold `*` and `?`.
# Gives paths relative to the root that hold a Cargo.toml.
{
  # The workspace: a path.
  root,
}:
pattern:
let
  isString = builtins.isString;
  components = builtins.filter (part: isString part && part != "" && part != ".") (
    builtins.split "/" pattern
  );
  toRegex = builtins.replaceStrings [ "." "*" "?" "+" "(" ")" ] [ "\\." "[^/]*" "[^/]" "\\+" "\\(" "\\)" ];
  isPattern = part: builtins.match ".*[*?].*" part != null;
  join = dir: name: if dir == "" then name else "${dir}/${name}";
  directories =
    dir:
    let
      entries = builtins.readDir (root + "/${dir}");
    in
    builtins.filter (name: entries.${name} == "directory") (builtins.attrNames entries);
  step =
    dirs: part:
    if isPattern part then
      builtins.concatMap (
        dir: map (join dir) (builtins.filter (name: builtins.match (toRegex part) name != null) (directories dir))
      ) dirs
    else
      map (dir: join dir part) dirs;
  found = builtins.foldl' step [ "" ] components;
in
builtins.filter (dir: builtins.pathExists (root + "/${dir}/Cargo.toml")) found
