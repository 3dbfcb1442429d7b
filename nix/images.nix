# A workspace's images: description → plan → units → layers → image.
{
  # ./parts.nix, and what the system is called elsewhere.
  parts,
  host,
  # The workspace, its description and its lock of Debian packages: paths.
  src,
  description,
  debianLock,
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
  toolchain = [ (parts.toolchainOf { packages = debian.packagesOf resolved.toolchain.set; }) ];

  targets =
    (parts.workspace {
      root = src;
      toolchain = [ parts.toolchain ];
      target = host.rust;
    }).targets;
  normalized = import ./image/normalize.nix { inherit (parts) cell runtime descriptionProgram; }
    {
    inherit description targets;
  };
  resolved = builtins.fromJSON (
    builtins.unsafeDiscardStringContext (builtins.readFile "${normalized}")
  );

  # What the tools call the platform that builds.
  native = {
    inherit (host) architecture rust;
  };
  isNative = target: target.architecture == host.architecture;

  inherit (resolved.build) features;
  # The binaries for one platform.
  buildFor =
    target:
    (parts.workspace {
      root = src;
      inherit toolchain;
      target = target.rust;
      cross = if isNative target then null else import ./cargo/cross.nix {
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
    }).build
      resolved.build.binaries;
  build = buildFor native;
  nativeRoot =
    name: set:
    parts.rootFileSystem {
      name = "native-${name}";
      packages = debian.packagesOf set;
    };

  make = import ./image/make.nix { inherit (parts) cell runtime imageProgram; };
  images =
    import ./image/images.nix { inherit make; }
      {
        root = src;
        description = resolved;
        platforms = builtins.mapAttrs (_: target: {
          inherit (if isNative target then debian else debianFor target.architecture) packagesOf;
          inherit (if isNative target then build else buildFor target) program;
        }) resolved.build.targets;
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
          name = "plan-${resolved.build.targets.${name}.architecture}";
          value = (buildFor resolved.build.targets.${name}).plan;
        }) (builtins.filter (name: name != host.platform) (builtins.attrNames resolved.build.targets))
      );
    in
    stages
    // {
      all = parts.links {
        name = "evaluation";
        entries = stages // crossPlans;
      };
    };
  inherit targets;
  description = normalized;
}
