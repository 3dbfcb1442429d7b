# A workspace's images: description → plan → units → layers → image.
{
  # ./foundation.nix, and what the system is called elsewhere.
  foundation,
  host,
  # The workspace, its description and its lock of Debian packages: paths.
  src,
  description,
  debianLock,
  # What compiles: "release" or "debian"; a compiler of nixpkgs goes before either.
  compiler,
  # The pin of the release: a path.
  toolchainLock,
  # nixpkgs, whose compiler is wanted: a flake, or null.
  nixpkgs,
  # The revision that is built: { commit, time, dirty }.
  revision,
  # Whether evaluation reads what the workspace keeps in plan.lock (./imported.nix).
  readsKept ? true,
  # The parts that the flake hands over, by name: ./part.nix.
  parts,
}:
let
  # Packages for an architecture; Crateyard's own lock has only those of the one that builds.
  debianFor =
    architecture:
    import ./debian/lock.nix {
      lock = debianLock;
      inherit architecture;
      fallback = if architecture == host.architecture then foundation.debian else null;
    };
  debian = debianFor host.architecture;
  # Of Debian in any case: the linker, the C compiler, what build scripts call.
  debianToolchain =
    let
      packages = debian.packagesOf resolved.toolchain.set;
    in
    foundation.toolchainOf (
      if rust == null then
        { inherit packages; }
      else
        {
          name = "tools";
          packages = builtins.filter (package: !(import ./debian/is-rust.nix package)) packages;
        }
    );
  # Another compiler than Debian's: { roots, lints, entries, std }, or null.
  rust =
    if nixpkgs != null then
      import ./toolchain/nixpkgs.nix { inherit (foundation) links; } {
        packages = nixpkgs.legacyPackages.${foundation.system};
      }
    else if compiler == "debian" then
      null
    else
      import ./toolchain/fits.nix {
        inherit description;
        root = src;
      } (
        foundation.releaseOf {
          lock = toolchainLock;
          host = host.rust;
        }
      );
  # The linker that is asked for in place of the compiler's own.
  linker =
    let
      asked = resolved.toolchain.linker or null;
    in
    if asked == null then
      [ ]
    else
      [
        (import ./toolchain/linker.nix
          {
            inherit (foundation) rootFileSystem;
            inherit (host) rust;
          }
          {
            linker = asked;
            packages = debian.packagesOf "toolchain.linker";
          }
        )
      ];
  toolchain = linker ++ (if rust == null then [ ] else rust.roots) ++ [ debianToolchain ];

  # The workspace as Cargo is shown it. Crateyard's own is read already.
  tree =
    (
      if toString src == toString foundation.tree.root then
        foundation.tree
      else
        import ./cargo/tree.nix { root = src; }
    )
    // (if readsKept then { } else { kept = null; });
  packagesAndTargets =
    (foundation.workspace {
      inherit tree;
      inherit (foundation) toolchain;
      target = host.rust;
    }).targets;
  normalized = import ./image/normalize.nix { inherit (foundation) cell bare descriptionProgram; } {
    inherit description;
    targets = packagesAndTargets;
    lock = src + "/Cargo.lock";
    pinned = debian.crates;
    inherit (debian) libraries;
    parts = builtins.attrNames (partsFor host.architecture);
  };
  resolved = import ./json.nix {
    inherit (tree) kept;
    item = describedItem;
    what = "the description";
    version = 2;
  };

  describedItem = {
    derivation = normalized;
    path = "${normalized}";
    name = "description.json";
  };
  # All that evaluation reads, the checks' plans included.
  items =
    [ describedItem ]
    ++ builtins.concatMap (platform: platform.plans) (builtins.attrValues platforms)
    ++ own.checks.items;
  imported = import ./imported.nix { inherit (tree) kept; };
  # Those that npm makes and those that are downloaded are in the description.
  described = (builtins.fromTOML (builtins.readFile description)).parts or { };
  npmParts = import ./npm/parts.nix {
    inherit src described host;
    inherit (foundation) cell rootFileSystem;
    packages = debian.packagesOf "npm";
  };
  downloads = import ./download/parts.nix {
    inherit described;
    inherit (foundation) cell tools;
  };
  twice = builtins.filter (name: parts ? ${name}) (
    builtins.attrNames npmParts.parts ++ downloads.names
  );
  # All parts, as images and crates for an architecture have them.
  partsFor =
    architecture:
    if twice == [ ] then
      parts // npmParts.parts // downloads.partsFor architecture
    else
      throw "images.toml and the flake both make the part \"${builtins.head twice}\": give one of them another name";
  partOfFor = architecture: import ./part.nix { parts = partsFor architecture; };
  # A crate's parts: { path, from }, with the path in the package's directory.
  partsOf =
    architecture: crate:
    map (part: {
      inherit (part) path;
      from = partOfFor architecture {
        name = part.part;
        path = part.from or "";
      };
    }) (crate.parts or [ ]);

  inherit (resolved.build) calls targets;
  isNative = target: target.architecture == host.architecture;

  lints = foundation.rootFileSystem {
    name = "lints";
    packages = debian.packagesOf "lints";
  };
  # The workspace, compiled for one platform in one way (crates/description: `normal::Settings`).
  workspaceFor =
    target: settings:
    foundation.workspace {
      inherit tree toolchain;
      lints = if rust == null then [ lints ] else rust.lints;
      target = settings.target or target.rust;
      cross =
        if isNative target then
          null
        else
          import ./cargo/cross.nix {
            inherit (target) rust gnu;
            roots = (if rust == null then [ ] else [ (rust.std target.rust) ]) ++ [
              (foundation.rootFileSystem {
                name = target.cross;
                packages = builtins.filter (
                  package: rust == null || !(import ./debian/is-rust.nix package)
                ) (debian.packagesOf target.cross);
              })
            ];
          };
      inherit (settings) profile;
      cargoArgs =
        (
          if settings.features == [ ] then
            [ ]
          else
            [ "--features" (builtins.concatStringsSep "," settings.features) ]
        )
        ++ (if settings.allFeatures then [ "--all-features" ] else [ ])
        ++ (if settings.noDefaultFeatures then [ "--no-default-features" ] else [ ]);
      native = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = nativeRoot name resolved.crates.${name}.set;
        }) (builtins.filter (name: resolved.crates.${name} ? set) (builtins.attrNames resolved.crates))
      );
      extraFiles = builtins.mapAttrs (_: crate: crate.files) resolved.crates;
      parts = builtins.mapAttrs (_: partsOf target.architecture) resolved.crates;
      variables = builtins.mapAttrs (_: crate: crate.environment or { }) resolved.crates;
      revisioned = builtins.filter (name: resolved.crates.${name}.revision or false) (
        builtins.attrNames resolved.crates
      );
      inherit revision;
    };
  # Name of each call of Cargo to what it builds for a platform. A call for a target of its own is
  # for that platform alone.
  buildsFor =
    target:
    builtins.mapAttrs (_: call: (workspaceFor target call.settings).build call.binaries) (
      import ./select.nix (
        call: !(call.settings ? target) || machineOf call.settings.target == machineOf target.rust
      ) calls
    );
  machineOf = rust: builtins.head (builtins.split "-" rust);
  # For the platform that builds.
  native = { inherit (host) architecture rust; };
  builds = buildsFor native;
  # The plans of all calls: the plan itself where there is one, else calls/NAME for each.
  plansOf =
    builds:
    let
      names = builtins.attrNames builds;
      planOf = name: builds.${name}.plan;
    in
    if builtins.length names == 1 then
      planOf (builtins.head names)
    else
      foundation.links {
        name = "plans";
        entries = builtins.listToAttrs (
          map (name: {
            name = "calls/${name}";
            value = planOf name;
          }) names
        );
      };
  # What images of one platform are made of (./image/images.nix).
  platformFor =
    target:
    let
      built = if isNative target then builds else buildsFor target;
      packages = if isNative target then debian else debianFor target.architecture;
      partOf = partOfFor target.architecture;
    in
    {
      inherit partOf;
      isNative = isNative target;
      plan = plansOf built;
      plans = map (build: build.item) (builtins.attrValues built);
      # An entry of a layer, or { package, bin, call }, to the output that holds bin/NAME.
      program = entry: built.${entry.call}.program { inherit (entry) package bin; };
      packagesOf = packages.withEntries;
      inherit (packages) has;
      # Those of the compiler's set that have one of these names; another platform's are not among
      # what compiles here.
      select =
        set: names:
        if isNative target then
          builtins.filter (package: builtins.elem package.entry.name names) (packages.withEntries set)
        else
          [ ];
      # The same to the crates that it is linked from, and to their names.
      crates = entry: import ./image/crates.nix { build = built.${entry.call}; } { inherit (entry) package bin; };
      linked = entry: built.${entry.call}.linked { inherit (entry) package bin; };
      inputsOf = import ./image/inputs.nix {
        root = src;
        description = resolved;
        target = target.rust;
        builds = built;
        inherit (tree) lock;
        inherit partOf;
        downloads = downloads.entriesFor target.architecture;
        npm = npmParts.contents;
        debian = packages;
        hostDebian = debian;
        components = if rust == null then [ ] else rust.entries;
        toolchainSets = [
          resolved.toolchain.set
        ]
        ++ (if linker == [ ] then [ ] else [ "toolchain.linker" ])
        ++ (if isNative target then [ ] else [ target.cross ]);
        tools = {
          inherit (foundation) runner planner seed;
          image = foundation.imageProgram;
        };
      };
    };
  platforms = builtins.mapAttrs (_: platformFor) targets;
  # The workspace by itself, as the checks see it.
  own = workspaceFor native resolved.build.settings;
  nativeRoot =
    name: set:
    foundation.rootFileSystem {
      name = "native-${name}";
      packages = debian.packagesOf set;
    };

  inherit (foundation) make;
  images =
    import ./image/images.nix { inherit make; }
      {
        root = src;
        description = resolved;
        inherit platforms;
      };
in
{
  image = images;
  programs = import ./image/programs.nix {
    description = resolved;
    inherit platforms;
  };
  parents = import ./image/parents.nix { inherit make; } {
    inherit debian;
    inherit (host) architecture;
    components = if rust == null then [ ] else rust.roots ++ rust.lints;
  };
  # Of all calls; keys tell the units of one from those of another.
  units = builtins.foldl' (all: build: all // build.units) { } (builtins.attrValues builds);
  plan = plansOf builds;
  # What evaluation builds and reads (import from derivation), in the order in which it needs them.
  # A binary cache that has the images but not this makes a cold machine fetch the toolchain and
  # plan again.
  evaluation =
    let
      stages = {
        tools = foundation.bootstrap.needed;
        description = normalized;
        plan = plansOf builds;
      };
      crossPlans = builtins.listToAttrs (
        map (name: {
          name = "plan-${targets.${name}.architecture}";
          value = platforms.${name}.plan;
        }) (builtins.filter (name: !(isNative targets.${name})) (builtins.attrNames targets))
      );
    in
    stages
    // {
      all = foundation.links {
        name = "evaluation";
        entries = stages // crossPlans;
      };
    };
  inherit (own) checks;
  # What the workspace may keep so that evaluation builds nothing, and whether it does (null where
  # it keeps nothing).
  planLock = foundation.links {
    name = "plan.lock";
    entries = imported.links items;
  };
  planIsCurrent =
    if builtins.pathExists (src + "/plan.lock") then
      foundation.sameBytes {
        name = "plan-is-current";
        pairs = imported.pairs items;
        cure = "plan.lock is not what the workspace's manifests give: run `assemble plan --write` and commit plan.lock.";
      }
    else
      null;
  # The compiler as one tree, for shells and editors.
  toolchain =
    if rust != null && rust ? all then
      import ./toolchain/tree.nix
        {
          inherit (foundation) cell;
          tools = [ foundation.tools ];
        }
        { release = rust; }
    else
      debianToolchain;
  targets = packagesAndTargets;
  # The parts that npm makes, and what it installs for them.
  npm = npmParts;
  description = normalized;
}
