# The names of files that Cargo may look at before it compiles. Their content does not matter, so
# Nix need not plan again after an edit of a source file.
#
# Gives: { isSkipped, files }
#   isSkipped  whether a directory or a link, by its path relative to the root, is no part of the
#              workspace: git's own files, Cargo's build results, links of `nix build`, and the kept
#              plan, which would otherwise change itself
#   files      the paths of all regular files, relative to the root
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
  filesIn =
    directory:
    let
      entries = builtins.readDir (if directory == "" then root else root + "/${directory}");
      found =
        name:
        let
          path = join directory name;
          kind = entries.${name};
        in
        if kind == "regular" then
          [ path ]
        else if kind == "directory" && !(isSkipped path) then
          filesIn path
        else
          [ ];
    in
    builtins.concatMap found (builtins.attrNames entries);
in
{
  inherit isSkipped;
  files = filesIn "";
}
