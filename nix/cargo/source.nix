# The source of one package of the workspace: what its units see.
#
# Left out are packages inside it and, unless they are wanted, tests, benches, examples and
# documents. The root's own package has all of the repository in its directory: of that, what is there for git, Nix,
# engines and readers is left out, too.
{
  # The workspace: a path.
  root,
  # Directories of all of its packages.
  directories,
}:
{
  # The package's directory.
  directory,
  # Whether tests, benches, examples and documents are wanted too.
  withTests ? false,
}:
let
  path = if directory == "" then root else root + "/${directory}";
  relative = import ./relative.nix { directory = path; };
  join = inner: if directory == "" then inner else "${directory}/${inner}";
  isPackage = inner: builtins.elem (join inner) directories;
  topOf = inner: builtins.head (builtins.split "/" inner);
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
  # Of the repository's root, not of a package.
  isBeside =
    top:
    builtins.match "\\..*|docs|result(-.*)?|flake\\.(nix|lock)|images\\.toml|(debian|Cargo)\\.lock|Dockerfile.*|docker-bake\\.hcl|[Mm]akefile|justfile" top
    != null;
  isWanted =
    inner:
    let
      top = topOf inner;
    in
    !(isPackage inner)
    && !(builtins.elem top never)
    && (withTests || !(builtins.elem top testFolders))
    && (withTests || !(isDocument inner))
    && (directory != "" || !(isBeside top));
in
builtins.path {
  name = "source";
  inherit path;
  filter = full: _: isWanted (relative full);
}
