# The source of one package of the workspace, as its units see it.
#
# It leaves out packages inside it and, by default, tests, benches, examples and documents. The
# directory of the root's own package is the whole repository, so the files for git, Nix, engines
# and readers are left out too.
#
# Gives: { source, beside }
#   source  the directory
#   beside  the files that its links and targets lead to: maps paths relative to the workspace to
#           their contents
{
  # The workspace: a path.
  root,
  # The directories of its packages (crates/plan: `PackagePlaces`).
  layout,
}:
let
  # The directories of all packages, without symbolic links.
  packages = builtins.listToAttrs (
    map (place: {
      name = place.source;
      value = true;
    }) (builtins.attrValues layout)
  );
  at = path: if path == "" then root else root + "/${path}";
  join = directory: inner: if directory == "" then inner else "${directory}/${inner}";
  testFolders = [
    "tests"
    "benches"
    "examples"
  ];
  never = [
    "target"
    ".git"
  ];
  isDocument = inner: builtins.match "[^/]*\\.md|LICEN[CS]E[^/]*|CHANGELOG[^/]*" inner != null;
  # Whether a path belongs to the repository's root, not to a package.
  isBeside = top: builtins.match (builtins.concatStringsSep "|" besides) top != null;
  besides = [
    "\\..*"
    "docs"
    "result(-.*)?"
    "flake\\.(nix|lock)"
    "images\\.toml"
    "(debian|Cargo|plan)\\.lock"
    "Dockerfile.*"
    "docker-bake\\.hcl"
    "[Mm]akefile"
    "justfile"
  ];
in
{
  # The package's directory.
  directory,
  # Whether to include tests, benches, examples and documents.
  withTests ? false,
  # Paths in the directory, files or directories, to leave out.
  without ? [ ],
}:
let
  place = layout.${directory} or { source = directory; };
  path = at place.source;
  relative = import ./relative.nix { directory = path; };
  isWanted =
    inner:
    let
      top = builtins.head (builtins.split "/" inner);
    in
    !(builtins.elem top never)
    && (withTests || !(builtins.elem top testFolders))
    && (withTests || !(isDocument inner))
    && (directory != "" || !(isBeside top))
    && !(isWithout inner);
  isWithout =
    inner: inner != "." && (builtins.elem inner without || isWithout (builtins.dirOf inner));
  # Whether a path in the package's own directory is included anyway.
  isThere =
    reached:
    let
      above = builtins.stringLength directory + 1;
      inner =
        if directory == "" then reached.place else builtins.substring above (-1) reached.place;
    in
    reached.place == join directory inner
    && reached.source == join place.source inner
    && isWanted inner
    && !(isOfAnother inner);
  # Whether a path is in a package inside this one.
  isOfAnother =
    inner:
    inner != "." && (packages ? ${join place.source inner} || isOfAnother (builtins.dirOf inner));
  # The planner does not know whether a file at the end of a link exists.
  isReached =
    reached:
    builtins.any isWanted reached.by
    && !(isThere reached)
    && builtins.pathExists (at reached.source);
in
{
  source = builtins.path {
    name = "source";
    inherit path;
    filter =
      full: _:
      let
        inner = relative full;
      in
      isWanted inner && !(packages ? ${join place.source inner});
  };
  beside = builtins.listToAttrs (
    map (reached: {
      name = reached.place;
      value = builtins.path {
        name = "beside";
        path = at reached.source;
      };
    }) (builtins.filter isReached (place.reaches or [ ]))
  );
}
