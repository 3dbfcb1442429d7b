# A workspace's images: description → plan → units → layers → image.
{
  # ./parts.nix, and what the system is called elsewhere.
  parts,
  host,
  # The workspace, its description and its lock of Debian packages: paths.
  src,
  description,
  debianLock,
  # The manifest of a release channel whose compiler is wanted: a path, or null for Debian's.
  channel,
  # nixpkgs, whose compiler is wanted: a flake, or null.
  nixpkgs,
}:
let
  # Packages for an architecture; Crateyard's own lock has only those of the one that builds.
  debianFor =
    architecture:
    import ./debian/lock.nix {
      lock = debianLock;
      inherit architecture;
      fallback = if architecture == host.architecture then parts.debian else null;
    };
  debian = debianFor host.architecture;
  # Of Debian in any case: the linker, the C compiler, what build scripts call.
  debianToolchain = parts.toolchainOf {
    packages =
      let
        packages = debian.packagesOf resolved.toolchain.set;
      in
      if rust == null then packages else builtins.filter (package: !(isRust package)) packages;
  };
  isRust = package: builtins.match "(rustc|cargo|libstd-rust|rust-).*" package.name != null;
  # Another compiler than Debian's: a root file system, or null.
  rust =
    if channel != null && nixpkgs != null then
      throw "mkImages is given both a channel and nixpkgs: one of them has the compiler"
    else if channel != null then
      import ./toolchain/channel.nix
        {
          inherit (parts) cell;
          tools = [ parts.toolchain ];
        }
        {
          manifest = channel;
          host = host.rust;
        }
    else if nixpkgs != null then
      import ./toolchain/nixpkgs.nix { inherit (parts) links; } {
        packages = nixpkgs.legacyPackages.${parts.system};
      }
    else
      null;
  toolchain = (if rust == null then [ ] else [ rust ]) ++ [ debianToolchain ];

  # The workspace's manifests and lock. Crateyard's own are read already.
  tree =
    if toString src == toString parts.tree.root then
      parts.tree
    else
      import ./cargo/tree.nix { root = src; };
  packagesAndTargets =
    (parts.workspace {
      inherit tree;
      toolchain = [ parts.toolchain ];
      target = host.rust;
    }).targets;
  normalized = import ./image/normalize.nix { inherit (parts) cell runtime descriptionProgram; }
    {
    inherit description;
    targets = packagesAndTargets;
    lock = src + "/Cargo.lock";
    pinned = debian.crates;
  };
  resolved = builtins.fromJSON (
    builtins.unsafeDiscardStringContext (builtins.readFile "${normalized}")
  );

  inherit (resolved.build) features targets;
  isNative = target: target.architecture == host.architecture;

  lints = parts.rootFileSystem {
    name = "lints";
    packages = debian.packagesOf "lints";
  };
  # The workspace, compiled for one platform.
  workspaceFor =
    target:
    parts.workspace {
      inherit tree toolchain;
      # Another compiler comes with its own.
      lints = if rust == null then [ lints ] else [ ];
      target = target.rust;
      cross =
        if isNative target then
          null
        else
          import ./cargo/cross.nix {
            inherit (target) rust gnu;
            root = parts.rootFileSystem {
              name = target.cross;
              packages = debian.packagesOf target.cross;
            };
          };
      inherit (resolved.build) profile;
      cargoArgs =
        (if features == [ ] then [ ] else [ "--features" (builtins.concatStringsSep "," features) ])
        ++ (if resolved.build.allFeatures then [ "--all-features" ] else [ ])
        ++ (if resolved.build.noDefaultFeatures then [ "--no-default-features" ] else [ ]);
      native = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = nativeRoot name resolved.crates.${name}.set;
        }) (builtins.filter (name: resolved.crates.${name} ? set) (builtins.attrNames resolved.crates))
      );
      extraFiles = builtins.mapAttrs (_: crate: crate.files) resolved.crates;
    };
  # The workspace and its binaries for the platform that builds.
  workspace = workspaceFor { inherit (host) architecture rust; };
  build = workspace.build resolved.build.binaries;
  # What images of one platform are made of (./image/images.nix).
  platformFor =
    target:
    let
      built = if isNative target then build else (workspaceFor target).build resolved.build.binaries;
      packages = if isNative target then debian else debianFor target.architecture;
    in
    {
      inherit (built) plan program;
      inherit (packages) packagesOf;
      libraries = librariesOf built packages;
      # Another platform's are not among what compiles here.
      compilerLibraries =
        if isNative target then
          debian.select resolved.toolchain.set (import ./image/compiler-libraries.nix)
        else
          [ ];
      inputsOf = import ./image/inputs.nix {
        root = src;
        description = resolved;
        target = target.rust;
        build = built;
        debian = packages;
        hostDebian = debian;
        toolchainSets = [ resolved.toolchain.set ] ++ (if isNative target then [ ] else [ target.cross ]);
        tools = {
          inherit (parts) runner planner seed;
          image = parts.imageProgram;
        };
      };
    };
  platforms = builtins.mapAttrs (_: platformFor) targets;
  # The sets with the libraries of Debian that a binary is linked to.
  librariesOf =
    build: debian: binary:
    builtins.filter debian.has (map (name: "libraries.${name}") (build.linked binary));
  nativeRoot =
    name: set:
    parts.rootFileSystem {
      name = "native-${name}";
      packages = debian.packagesOf set;
    };

  inherit (parts) make;
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
  parents = import ./image/parents.nix { inherit make; } {
    inherit debian;
    inherit (host) architecture;
  };
  inherit (build) units plan;
  # What evaluation builds and reads (import from derivation), in the order in which it needs them. A binary cache
  # that has the images but not this makes a cold machine fetch the toolchain and plan again.
  evaluation =
    let
      stages = {
        tools = parts.toolsPlan;
        description = normalized;
        inherit (build) plan;
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
      all = parts.links {
        name = "evaluation";
        entries = stages // crossPlans;
      };
    };
  inherit (workspace) checks;
  targets = packagesAndTargets;
  description = normalized;
}
