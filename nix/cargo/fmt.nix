# Checks that a package is formatted, with rustfmt on the files that `cargo fmt --check` would
# check. It needs no plan.
{
  cell,
  # The workspace: ./tree.nix.
  tree,
  # The directories of its packages (crates/plan: `PackagePlaces`).
  layout,
  # Root file systems: the compiler, and beside it rustfmt.
  toolchain,
  lints,
}:
# Cargo's description of the package (crates/plan: `Package`), and its directory.
{
  name,
  edition,
  targets,
  directory,
  ...
}:
let
  inherit (tree) root;
  isRust = path: builtins.match ".*\\.rs" path != null;
  files = builtins.filter isRust (map (target: target.path) targets);
  inherit
    (import ./source.nix { inherit root layout; } {
      inherit directory;
      withTests = true;
    })
    source
    beside
    ;
  settings = builtins.filter (file: builtins.pathExists (root + "/${file}")) [
    "rustfmt.toml"
    ".rustfmt.toml"
  ];
  content =
    file:
    builtins.path {
      name = "settings";
      path = root + "/${file}";
    };
in
cell {
  name = "${name}-fmt";
  roots = toolchain ++ lints;
  program = "/usr/bin/sh";
  args = [
    "-eu"
    "-c"
    ''
      export PATH=/usr/bin HOME=/homeless LANG=C.UTF-8
      mkdir -p "/workspace/$directory"
      cp -R "$source/." "/workspace/$directory"
      for each in $beside; do
        mkdir -p "/workspace/$(dirname "''${each%%=*}")"
        cp -RT "''${each#*=}" "/workspace/''${each%%=*}"
      done
      for setting in $settings; do
        cp "''${setting#*=}" "/workspace/''${setting%%=*}"
      done
      cd /workspace
      if ! rustfmt --check --edition "$edition" $files; then
        echo "error: not formatted; run: cargo fmt --package $package" >&2
        exit 1
      fi
      mkdir "$out"
    ''
  ];
  writable = [ "/workspace" ];
  attributes = {
    inherit
      directory
      source
      edition
      files
      ;
    package = name;
    # Files behind the package's links are not the package's own. They exist for rustfmt, but only
    # targets among them are checked.
    beside = map (place: "${place}=${beside.${place}}") (builtins.attrNames beside);
    settings = map (file: "${file}=${content file}") settings;
  };
}
