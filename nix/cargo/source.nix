# The source of one package of the workspace: what its units see.
#
# Left out are packages inside it and, unless they are wanted, tests, benches, examples and
# documents. The root's own package is taken by what it names, since all of the repository lies in
# its directory.
{
  # The workspace: a path.
  root,
  # Directories of all of its packages.
  directories,
}:
{
  # The package's directory and its parsed manifest.
  directory,
  manifest,
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
  named =
    map (target: topOf (target.path or "src")) (
      [ (manifest.lib or { }) ]
      ++ manifest.bin or [ ]
      ++ (if withTests then manifest.test or [ ] ++ manifest.example or [ ] else [ ])
    )
    ++ (if builtins.isString (manifest.package.build or null) then [ (topOf manifest.package.build) ] else [ ])
    ++ [
      "src"
      "build.rs"
      "Cargo.toml"
    ]
    ++ (if withTests then testFolders else [ ]);
  isWanted =
    inner:
    let
      top = topOf inner;
    in
    !(isPackage inner)
    && !(builtins.elem top never)
    && (withTests || !(builtins.elem top testFolders))
    && (withTests || !(isDocument inner))
    && (directory != "" || builtins.elem top named || isDocument inner);
in
builtins.path {
  name = "source";
  inherit path;
  filter = full: _: isWanted (relative full);
}
