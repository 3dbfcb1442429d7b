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
}:
let
  debian = import ./debian/lock.nix {
    lock = debianLock;
    inherit (host) architecture;
    fallback = parts.debian;
  };
  # Of Debian in any case: the linker, the C compiler, what build scripts call.
  debianToolchain = parts.toolchainOf {
    packages =
      let
        packages = debian.packagesOf resolved.toolchain.set;
      in
      if channel == null then packages else builtins.filter (package: !(isRust package)) packages;
  };
  isRust = package: builtins.match "(rustc|cargo|libstd-rust|rust-).*" package.name != null;
  toolchain =
    (
      if channel == null then
        [ ]
      else
        [
          (import ./toolchain/channel.nix
            {
              inherit (parts) cell;
              tools = [ parts.toolchain ];
            }
            {
              manifest = channel;
              host = host.rust;
            }
          )
        ]
    )
    ++ [ debianToolchain ];

  targets =
    (parts.workspace {
      root = src;
      toolchain = [ parts.toolchain ];
      target = host.rust;
    }).targets;
  normalized = import ./image/normalize.nix { inherit (parts) cell runtime descriptionProgram; }
    {
    inherit description targets;
    lock = src + "/Cargo.lock";
  };
  resolved = builtins.fromJSON (
    builtins.unsafeDiscardStringContext (builtins.readFile "${normalized}")
  );

  inherit (resolved.build) features;
  lints = parts.rootFileSystem {
    name = "lints";
    packages = debian.packagesOf "lints";
  };
  workspace = parts.workspace {
    root = src;
    inherit toolchain;
    # A channel has its own.
    lints = if channel == null then [ lints ] else [ ];
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
  };
  build = workspace.build resolved.build.binaries;
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

  make = import ./image/make.nix { inherit (parts) cell runtime imageProgram; };
  images =
    import ./image/images.nix { inherit make; }
      {
        root = src;
        description = resolved;
        platforms.${host.platform} = {
          inherit (debian) packagesOf;
          inherit (build) program;
          libraries = librariesOf build debian;
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
  inherit (workspace) checks;
  inherit targets;
  description = normalized;
}
