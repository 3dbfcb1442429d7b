# Whether a package is formatted: rustfmt over the files that `cargo fmt --check` would name. It needs
# no plan.
{
  cell,
  # The workspace: ./tree.nix.
  tree,
  # Where its packages lie (crates/plan: `Layout`).
  layout,
  # Root file systems: the compiler, and beside it rustfmt.
  toolchain,
  lints,
}:
# What Cargo says of the package (crates/plan: `Package`), and its directory.
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
    # What the package's links and targets lead to is not the package's own: it is there, and not checked
    # but as a target.
    beside = map (place: "${place}=${beside.${place}}") (builtins.attrNames beside);
    settings = map (file: "${file}=${content file}") settings;
  };
}
