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
  debian = import ./debian/lock.nix {
    lock = debianLock;
    inherit (host) architecture;
    fallback = parts.debian;
  };
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

  inherit (resolved.build) features;
  build =
    (parts.workspace {
      root = src;
      inherit toolchain;
      target = host.rust;
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
  nativeRoot =
    name: set:
    parts.rootFileSystem {
      name = "native-${name}";
      packages = debian.packagesOf set;
    };

  # What images for one platform are made of, from the build of their binaries.
  inputsFor =
    arguments:
    import ./image/inputs.nix (
      arguments
      // {
        root = src;
        description = resolved;
        hostDebian = debian;
        tools = {
          inherit (parts) runner planner seed;
          image = parts.imageProgram;
        };
      }
    );
  make = import ./image/make.nix { inherit (parts) cell runtime imageProgram; };
  images =
    import ./image/images.nix { inherit make; }
      {
        root = src;
        description = resolved;
        platforms.${host.platform} = {
          inherit (debian) packagesOf;
          inherit (build) program;
          inputsOf = inputsFor {
            inherit build debian;
            target = host.rust;
            toolchainSets = [ resolved.toolchain.set ];
          };
        };
      };
in
{
  image = images;
  parents = import ./image/parents.nix { inherit make; } {
    inherit debian;
    inherit (host) architecture;
  };
  inherit (build) units plan;
  inherit targets;
  description = normalized;
}
