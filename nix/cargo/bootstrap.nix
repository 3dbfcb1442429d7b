# Programs that must exist before there are units: the unit runner and the planner, each built by
# one plain `cargo build` in a cell.
#
# They see their own crates and what the lock pins for those, and nothing of the workspace's
# manifest that does not concern them, so that an edit elsewhere never rebuilds them: with the
# unit runner every unit would be built again.
{
  cell,
  # Root file systems with Cargo and the compilers.
  toolchain,
  # Crateyard's own workspace: ./tree.nix.
  tree,
}:
{
  # The package to build; its binary has the same name.
  package,
  # All packages of crates/ that it needs, itself included.
  crates,
}:
let
  toToml = import ./to-toml.nix;
  inherit (tree) lock;
  # Crateyard's own manifests hold nothing that Nix can't read. There is no planner yet to ask.
  read = file: builtins.fromTOML (builtins.readFile (tree.root + "/${file}"));
  inherit (read "Cargo.toml") workspace;
  manifests = map (name: read "crates/${name}/Cargo.toml") crates;
  used = builtins.foldl' (all: manifest: all // (manifest.dependencies or { })) { } manifests;
  usedForTests = builtins.foldl' (all: manifest: all // (manifest.dev-dependencies or { })) { } manifests;
  manifest = {
    workspace = {
      inherit (workspace) resolver;
      members = map (name: "crates/${name}") crates;
      # Not the workspace's own version: a bump does not concern these programs.
      package = workspace.package // {
        version = "0.0.0";
      };
      dependencies = builtins.intersectAttrs (used // usedForTests) workspace.dependencies;
      lints = { rust = { }; };
    };
    profile.release = {
      panic = "abort";
      strip = "symbols";
    };
  };

  # What the lock has for the wanted crates, by following its edges. An edge is "NAME",
  # "NAME VERSION" or "NAME VERSION (SOURCE)".
  isNamed =
    edge: entry:
    builtins.elem edge [
      entry.name
      "${entry.name} ${entry.version}"
      "${entry.name} ${entry.version} (${entry.source or ""})"
    ];
  entriesOf = edge: builtins.filter (isNamed edge) lock.named.${builtins.head (builtins.split " " edge)};
  toItem = entry: {
    key = "${entry.name} ${entry.version}";
    inherit entry;
  };
  closure = builtins.genericClosure {
    startSet = map toItem (builtins.concatMap entriesOf crates);
    operator = item: map toItem (builtins.concatMap entriesOf (item.entry.dependencies or [ ]));
  };
  entries = map (item: if item.entry ? source then item.entry else item.entry // { version = "0.0.0"; }) closure;
  lockText = builtins.concatStringsSep "\n" (
    [ "version = ${toString lock.version}" ] ++ map (entry: "[[package]]\n${toToml entry}") entries
  );
  sources = builtins.concatMap (
    { entry, ... }:
    if entry ? source then
      [ "${lock.files."${entry.name} ${entry.version} ${entry.source}"} ${entry.checksum}" ]
    else
      [ ]
  ) closure;
  crateSource =
    name:
    builtins.path {
      name = "source";
      path = tree.root + "/crates/${name}";
      filter = path: _: !(builtins.elem (builtins.baseNameOf path) [ "tests" "benches" ]);
    };
in
cell {
  name = "bootstrap-${package}";
  roots = toolchain;
  program = "/usr/bin/sh";
  args = [ "${./bootstrap.sh}" ];
  writable = [
    "/workspace"
    "/cargo"
  ];
  attributes = {
    inherit package;
    manifest = toToml manifest;
    lock = lockText;
    crates = builtins.concatStringsSep "\n" (map (name: "${name} ${crateSource name}") crates);
    sources = builtins.concatStringsSep "\n" sources;
  };
}
