# Whether a package is formatted: rustfmt over the files that `cargo fmt --check` would name. It needs
# no plan.
{
  cell,
  # The workspace: a path, and its parsed manifests by directory.
  root,
  packages,
  # Root file systems: the compiler, and beside it rustfmt.
  toolchain,
  lints,
}:
# The package's directory.
directory:
let
  manifest = packages.${directory};
  workspace = (builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"))).workspace;
  own = manifest.package.edition or "2015";
  edition = if builtins.isString own then own else workspace.package.edition;
  isRust = path: builtins.match ".*\\.rs" path != null;
  files = builtins.filter isRust (import ./targets.nix { inherit root directory manifest; });
  source = import ./source.nix {
    inherit root;
    directories = builtins.attrNames packages;
  } {
    inherit directory;
    withTests = true;
  };
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
  name = "${manifest.package.name}-fmt";
  roots = toolchain ++ lints;
  program = "/usr/bin/sh";
  args = [
    "-eu"
    "-c"
    ''
      export PATH=/usr/bin HOME=/homeless LANG=C.UTF-8
      mkdir -p "/workspace/$directory"
      cp -R "$source/." "/workspace/$directory"
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
    package = manifest.package.name;
    settings = map (file: "${file}=${content file}") settings;
  };
}
