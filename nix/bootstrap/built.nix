# Bootstrap programs from their source: each by a plain `cargo build` in a cell, linked statically.
#
# They see their own crates and what the lock pins for those, and nothing of the workspace's
# manifest that does not concern them, so that an edit elsewhere never builds them again.
#
# Gives: { source, built, crates }
#   source  a hash of all that decides their bytes. Known without building or unpacking anything
#   built   the derivation with bin/NAME of each, and the hash of its files in NAME.files
#   crates  { name, version, checksum } of each crate that is needed
{
  cell,
  # Root file systems with Cargo and the compilers, and what pins these: a string.
  toolchain,
  pins,
  # Crateyard's own workspace: ../cargo/tree.nix.
  tree,
  # The platform that builds, as rustc names it.
  target,
}:
{
  # The packages to build, one after another, so that none gets a feature that only another asks
  # for. The package of each is crateyard-NAME, its binary NAME.
  programs,
  # All packages of crates/ that they need, themselves included.
  crates,
}:
let
  toToml = import ../cargo/to-toml.nix;
  inherit (tree) lock;
  # Crateyard's own manifests hold nothing that Nix can't read. There is no planner yet to ask.
  read = file: builtins.fromTOML (builtins.readFile (tree.root + "/${file}"));
  inherit (read "Cargo.toml") workspace profile;
  manifests = builtins.listToAttrs (
    map (name: {
      inherit name;
      # What only tests and lints need is not there.
      value = removeAttrs (read "crates/${name}/Cargo.toml") [
        "dev-dependencies"
        "lints"
      ];
    }) crates
  );
  packages = map (name: manifests.${name}.package.name) crates;
  dependenciesOf = manifest: manifest.dependencies or { };
  used = builtins.foldl' (all: name: all // dependenciesOf manifests.${name}) { } crates;
  manifest = {
    workspace = {
      inherit (workspace) resolver;
      members = map (name: "crates/${name}") crates;
      # Not the workspace's own version: a bump does not concern these programs.
      package = workspace.package // {
        version = "0.0.0";
      };
      dependencies = builtins.intersectAttrs used workspace.dependencies;
    };
    profile = {
      inherit (profile) release;
      bootstrap = profile.bootstrap // {
        # Of these packages: Cargo warns of others.
        package = builtins.intersectAttrs named profile.bootstrap.package;
      };
    };
  };

  # What the lock has for the wanted crates, by following its edges. An edge is "NAME",
  # "NAME VERSION" or "NAME VERSION (SOURCE)".
  nameOf = edge: builtins.head (builtins.split " " edge);
  isNamed =
    edge: entry:
    builtins.elem edge [
      entry.name
      "${entry.name} ${entry.version}"
      "${entry.name} ${entry.version} (${entry.source or ""})"
    ];
  # The name of a package that a manifest calls by some name.
  packageOf =
    name: dependency:
    let
      said = if dependency.workspace or false then workspace.dependencies.${name} else dependency;
    in
    said.package or name;
  usedPackages = builtins.attrValues (builtins.mapAttrs packageOf used);
  # The lock of a member has what its tests need, too.
  edgesOf =
    entry:
    builtins.filter (edge: entry ? source || builtins.elem (nameOf edge) usedPackages) (
      entry.dependencies or [ ]
    );
  entriesOf = edge: builtins.filter (isNamed edge) lock.named.${nameOf edge};
  toItem = entry: {
    key = "${entry.name} ${entry.version}";
    inherit entry;
  };
  closure = builtins.genericClosure {
    startSet = map toItem (builtins.concatMap entriesOf packages);
    operator = item: map toItem (builtins.concatMap entriesOf (edgesOf item.entry));
  };
  toMember =
    entry:
    entry
    // {
      version = "0.0.0";
      dependencies = edgesOf entry;
    };
  entries = map ({ entry, ... }: if entry ? source then entry else toMember entry) closure;
  lockText = builtins.concatStringsSep "\n" (
    [ "version = ${toString lock.version}" ] ++ map (entry: "[[package]]\n${toToml entry}") entries
  );
  # Name of a package to one of its entries.
  named = builtins.listToAttrs (
    map (entry: {
      inherit (entry) name;
      value = entry;
    }) entries
  );
  outside = builtins.filter (entry: entry ? source) entries;
  crateSource =
    name:
    builtins.path {
      name = "source";
      path = tree.root + "/crates/${name}";
      filter =
        path: _:
        !(builtins.elem (builtins.baseNameOf path) [
          "Cargo.toml"
          "benches"
          "tests"
        ]);
    };
  attributes = {
    inherit target;
    programs = builtins.concatStringsSep " " programs;
    manifest = toToml manifest;
    lock = lockText;
    crates = builtins.concatStringsSep "\n" (
      map (
        name: "${name} ${crateSource name} ${builtins.toFile "Cargo.toml" (toToml manifests.${name})}"
      ) crates
    );
  };
in
{
  crates = map (entry: { inherit (entry) name version checksum; }) outside;
  source = builtins.hashString "sha256" (
    builtins.unsafeDiscardStringContext (
      builtins.toJSON {
        inherit attributes pins;
        script = builtins.readFile ./built.sh;
      }
    )
  );
  built = cell {
    name = "bootstrap-built-${builtins.concatStringsSep "-" programs}";
    roots = toolchain;
    program = "/usr/bin/sh";
    args = [ "${./built.sh}" ];
    writable = [
      "/workspace"
      "/cargo"
    ];
    attributes = attributes // {
      sources = builtins.concatStringsSep "\n" (
        map (
          entry: "${lock.files."${entry.name} ${entry.version} ${entry.source}"} ${entry.checksum}"
        ) outside
      );
    };
  };
}
