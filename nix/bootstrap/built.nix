# Bootstrap programs from their source: a plain `cargo build` in a cell builds each, linked
# statically.
#
# They see their own crates, the crates that the lock pins for those, and only the relevant parts of
# the workspace's manifest, so that an edit elsewhere never builds them again.
#
# Gives: { source, built, crates }
#   source  a hash of everything that decides their bytes, known without building or unpacking
#           anything
#   built   the derivation with bin/NAME of each, and the hash of its files in NAME.files
#   crates  { name, version, checksum } of each crate that they need
{
  cell,
  # Root file systems with Cargo and the compilers, and their pins: a string.
  toolchain,
  pins,
  # Crateyard's own workspace: ../cargo/tree.nix.
  tree,
  # The platform that builds, as rustc names it.
  target,
}:
# The packages to build. One call of Cargo builds them all, so that it compiles each crate once.
# Each package is named crateyard-NAME, and its binary NAME.
programs:
let
  toToml = import ../cargo/to-toml.nix;
  inherit (tree) lock;
  # Nix can read all that Crateyard's own manifests hold, and there is no planner yet to ask.
  read = file: builtins.fromTOML (builtins.readFile (tree.root + "/${file}"));
  inherit (read "Cargo.toml") workspace profile;
  # Leaves out the fields that only tests and lints need.
  manifestOf =
    name:
    removeAttrs (read "crates/${name}/Cargo.toml") [
      "dev-dependencies"
      "lints"
    ];
  # The packages of crates/ that the programs need, including their own.
  crates = builtins.sort builtins.lessThan (
    map ({ key, ... }: key) (
      builtins.genericClosure {
        startSet = map (key: { inherit key; }) programs;
        operator =
          { key }:
          map (dependency: { key = baseNameOf dependency.path; }) (
            builtins.filter (dependency: dependency ? path) (
              builtins.attrValues (
                builtins.intersectAttrs (dependenciesOf (manifestOf key)) workspace.dependencies
              )
            )
          );
      }
    )
  );
  manifests = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = manifestOf name;
    }) crates
  );
  packages = map (name: manifests.${name}.package.name) crates;
  dependenciesOf = manifest: manifest.dependencies or { };
  used = builtins.foldl' (all: name: all // dependenciesOf manifests.${name}) { } crates;
  manifest = {
    workspace = {
      inherit (workspace) resolver;
      members = map (name: "crates/${name}") crates;
      # Replaces the workspace's own version, because a new version does not concern these programs.
      package = workspace.package // {
        version = "0.0.0";
      };
      dependencies = builtins.intersectAttrs used workspace.dependencies;
    };
    profile = {
      inherit (profile) release;
      bootstrap = profile.bootstrap // {
        # Only the packages that are there: Cargo warns of others.
        package = builtins.intersectAttrs named profile.bootstrap.package;
      };
    };
  };

  # The lock's entries for the wanted crates, found by following its edges. An edge is "NAME", "NAME
  # VERSION" or "NAME VERSION (SOURCE)".
  nameOf = edge: builtins.head (builtins.split " " edge);
  isNamed =
    edge: entry:
    builtins.elem edge [
      entry.name
      "${entry.name} ${entry.version}"
      "${entry.name} ${entry.version} (${entry.source or ""})"
    ];
  # The real name of a package that a manifest may rename.
  packageOf =
    name: dependency:
    let
      said = if dependency.workspace or false then workspace.dependencies.${name} else dependency;
    in
    said.package or name;
  usedPackages = builtins.attrValues (builtins.mapAttrs packageOf used);
  # A member's entry in the lock also lists the crates that only its tests need.
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
  # Maps the name of each package to one of its entries.
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
        name:
        let
          manifest = builtins.toFile "Cargo.toml" (toToml manifests.${name});
        in
        "${name} ${crateSource name} ${manifest}"
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
    name = "bootstrap-built";
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
