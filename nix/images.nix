# A workspace's images: description → plan → units → layers → image.
{
  # ./foundation.nix, and the other names of the system.
  foundation,
  host,
  # The workspace, its description and its lock of Debian packages: paths.
  src,
  description,
  debianLock,
  # The compiler: "release" or "debian". A compiler of nixpkgs takes precedence over both.
  compiler,
  # The pin of the release: a path.
  toolchainLock,
  # nixpkgs, if its compiler is wanted: a flake, or null.
  nixpkgs,
  # The revision that is built: { commit, time, dirty }.
  revision,
  # Whether evaluation reads the files that the workspace keeps in plan.lock (./imported.nix).
  readsKept ? true,
  # The parts that the flake hands over, by name: ./part.nix.
  parts,
}:
let
  # Packages for an architecture. Crateyard's own lock only has packages for the architecture that
  # builds.
  debianFor =
    architecture:
    import ./debian/lock.nix {
      lock = debianLock;
      inherit architecture;
      fallback = if architecture == host.architecture then foundation.debian else null;
    };
  debian = debianFor host.architecture;
  # The linker, the C compiler and the programs that build scripts call are always Debian's.
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
  # A compiler other than Debian's: { roots, lints, entries, std }, or null.
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
  # The release as one tree, with its cargo, clippy and rustfmt. Null if another compiler is used.
  releaseTree =
    if rust != null && rust ? all then
      import ./toolchain/tree.nix
        {
          inherit (foundation) cell;
          tools = [ foundation.tools ];
        }
        { release = rust; }
    else
      null;
  # The linker that the description asks for in place of the compiler's own.
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

  # The workspace as Cargo sees it. Crateyard's own is read already.
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
    # The description itself checks the downloads of images and crates.
    parts = builtins.attrNames (checked (parts // npmParts.parts // downloads.named));
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
  # Everything that evaluation reads, including the plans of the checks.
  items =
    [ describedItem ]
    ++ builtins.concatMap (platform: platform.plans) (builtins.attrValues platforms)
    ++ own.checks.items;
  imported = import ./imported.nix { inherit (tree) kept; };
  # The description has the parts that npm makes and those that are downloaded.
  toml = builtins.fromTOML (builtins.readFile description);
  npmParts = import ./npm/parts.nix {
    inherit src host;
    described = toml.parts or { };
    inherit (foundation) cell rootFileSystem;
    packages = debian.packagesOf "npm";
  };
  downloads = import ./download/parts.nix {
    inherit toml;
    inherit (foundation) cell tools;
  };
  twice = builtins.filter (name: parts ? ${name}) (
    builtins.attrNames npmParts.parts ++ builtins.attrNames downloads.named
  );
  checked =
    all:
    if twice == [ ] then
      all
    else
      throw (
        "images.toml and the flake both make the part \"${builtins.head twice}\": "
        + "give one of them another name"
      );
  # All parts, as the images and crates for an architecture see them.
  partsFor = architecture: checked (parts // npmParts.parts // downloads.partsFor architecture);
  partOfFor = architecture: import ./part.nix { parts = partsFor architecture; };
  # A crate's parts: { path, from }, where the path is relative to the package's directory.
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
  # The workspace, compiled for one platform with some settings (crates/description:
  # `normal::Settings`).
  workspaceFor =
    target: settings:
    let
      # rustc's name of the target: an image's own, or that of the platform.
      triple = settings.target or target.rust;
    in
    foundation.workspace {
      inherit tree toolchain;
      lints = if rust == null then [ lints ] else rust.lints;
      target = triple;
      cross =
        if isNative target then
          null
        else
          import ./cargo/cross.nix {
            rust = triple;
            inherit (target) gnu;
            roots = (if rust == null then [ ] else [ (rust.std triple) ]) ++ [
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
      native = builtins.mapAttrs (name: crate: nativeRoot name crate.set) (
        import ./select.nix (crate: crate ? set) resolved.crates
      );
      extraFiles = builtins.mapAttrs (_: crate: crate.files) resolved.crates;
      parts = builtins.mapAttrs (_: partsOf target.architecture) resolved.crates;
      variables = builtins.mapAttrs (_: crate: crate.environment or { }) resolved.crates;
      revisioned = builtins.filter (name: resolved.crates.${name}.revision or false) (
        builtins.attrNames resolved.crates
      );
      inherit revision;
    };
  # Maps the name of each call of Cargo to its build for a platform. A call with a target of its own
  # exists for that platform alone.
  buildsFor =
    target:
    builtins.mapAttrs (_: call: (workspaceFor target call.settings).build call.binaries) (
      import ./select.nix (
        call: !(call.settings ? target) || machineOf call.settings.target == machineOf target.rust
      ) calls
    );
  machineOf = rust: builtins.head (builtins.split "-" rust);
  # The platform that builds.
  native = { inherit (host) architecture rust; };
  builds = buildsFor native;
  # The plans of all calls: a single plan as it is, several as calls/NAME.
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
  # The ingredients of the images for one platform (./image/images.nix).
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
      # Maps an entry of a layer, or { package, bin, call }, to the output that holds bin/NAME.
      program = entry: built.${entry.call}.program { inherit (entry) package bin; };
      packagesOf = packages.withEntries;
      inherit (packages) has;
      # The packages of the compiler's set with one of these names. Nothing here compiles with the
      # packages of another platform.
      select =
        set: names:
        if isNative target then
          builtins.filter (package: builtins.elem package.entry.name names) (
            packages.withEntries set
          )
        else
          [ ];
      # These map the same entry to the crates that the program is linked from, and to their names.
      crates =
        entry:
        import ./image/crates.nix { build = built.${entry.call}; } { inherit (entry) package bin; };
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
        # By content: an image that named their store paths would drag them into every cache.
        tools = builtins.mapAttrs (_: digest: "sha256:${digest}") {
          inherit (foundation.bootstrap.digests) image;
          runner = foundation.bootstrap.digests.unit;
          planner = foundation.bootstrap.digests.plan;
          seed = foundation.seedDigest;
        };
        inherit revision;
      };
    };
  platforms = builtins.mapAttrs (_: platformFor) targets;
  # The workspace with its own settings, as the checks see it.
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
  # The units of all calls. Their keys differ between calls.
  units = builtins.foldl' (all: build: all // build.units) { } (builtins.attrValues builds);
  plan = plansOf builds;
  # The derivations that evaluation builds and reads (import from derivation), in the order in which
  # it needs them. If a binary cache has the images but not these, a cold machine fetches the
  # toolchain and plans again.
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
  # The files that the workspace may keep so that evaluation builds nothing, and the check that it
  # keeps the right ones (null if it keeps none).
  planLock = foundation.links {
    name = "plan.lock";
    entries = imported.links items;
  };
  planIsCurrent =
    if builtins.pathExists (src + "/plan.lock") then
      foundation.sameBytes {
        name = "plan-is-current";
        pairs = imported.pairs items;
        cure =
          "plan.lock is not what the workspace's manifests give: "
          + "run `assemble plan --write` and commit plan.lock.";
      }
    else
      null;
  # The compiler as one tree, for shells and editors.
  toolchain = if releaseTree == null then debianToolchain else releaseTree;
  # The formatter, for `nix fmt`.
  formatter = import ./formatter.nix {
    inherit (foundation) links;
    toolchain = releaseTree;
  };
  targets = packagesAndTargets;
  # The parts that npm makes, and the packages that it installs for them.
  npm = npmParts;
  description = normalized;
}
