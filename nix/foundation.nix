# The foundation of everything, for one system: seed, cell, toolchain, bootstrap programs, and the
# workspace function. It is always made from Crateyard's own source and lock, for any caller.
{
  # Crateyard's own source: a path.
  crateyard,
  # The system that builds, and its other names: ./systems.nix.
  system,
  host,
  # The pin of the release whose compiler is used (./toolchain/release.nix): a path; null for
  # Debian's compiler.
  toolchainLock,
}:
let
  seed = import ./seed/seed.nix { inherit system; };
  # The SHA-256 of its bytes. `nix flake check --no-build` adds nothing to the store, so the seed's
  # own file is read.
  seedDigest = builtins.hashFile "sha256" (import ./seed/file.nix { inherit system; });
  cell = import ./seed/cell.nix { inherit system seed; };
  rootFileSystem = import ./debian/root-file-system.nix { inherit system seed; };
  toolchainOf = import ./debian/toolchain.nix { inherit rootFileSystem; };
  debian = import ./debian/lock.nix {
    lock = crateyard + "/debian.lock";
    inherit (host) architecture;
  };
  packages = debian.packagesOf "toolchain";
  # Debian's compiler, with the linker, the C compiler and the programs that build scripts call;
  # `tools` has only these others.
  debianToolchain = toolchainOf { inherit packages; };
  tools = toolchainOf {
    name = "tools";
    packages = builtins.filter (package: !(import ./debian/is-rust.nix package)) packages;
  };
  releaseOf = import ./toolchain/release.nix {
    inherit cell;
    tools = [ tools ];
  };
  # The release's compiler, or null.
  release =
    if toolchainLock == null then
      null
    else
      releaseOf {
        lock = toolchainLock;
        host = host.rust;
      };
  # The compiler of Crateyard's own programs: root file systems.
  toolchain = if release == null then [ debianToolchain ] else release.roots ++ [ tools ];
  # The files that a program linked to libc needs to run, and no more.
  runtime = rootFileSystem {
    name = "runtime";
    packages = debian.packagesOf "base";
  };
  # The files that a static program needs to run: none.
  bare = rootFileSystem {
    name = "bare";
    packages = [ ];
  };

  tree = import ./cargo/tree.nix { root = crateyard; };
  bootstrap = import ./bootstrap/programs.nix {
    inherit
      system
      seed
      cell
      links
      sameBytes
      tools
      ;
    # Only Crateyard's own release gives the pinned bytes, no matter what compiles the workspace.
    lock = if toolchainLock == null then null else crateyard + "/bootstrap.lock";
    builtOf = import ./bootstrap/built.nix {
      inherit cell tree;
      target = host.rust;
      toolchain =
        if toolchainLock == null then [ debianToolchain ] else ownRelease.roots ++ [ tools ];
      pins = builtins.toJSON [
        (debian.entriesOf "toolchain")
        (if toolchainLock == null then null else builtins.readFile ownLock)
      ];
    };
  };
  ownLock = crateyard + "/toolchain.lock";
  ownRelease = releaseOf {
    lock = ownLock;
    host = host.rust;
  };
  sameBytes = import ./same-bytes.nix { inherit tools cell; };
  # A directory of links.
  links =
    { name, entries }:
    rootFileSystem {
      inherit name;
      packages = [ ];
      symlinks = entries;
    };
  runner = bootstrap.programs.unit;
  planner = bootstrap.programs.plan;
  imageProgram = bootstrap.programs.image;
  make = import ./image/make.nix { inherit cell bare imageProgram; };
  workspace = import ./cargo/workspace.nix { inherit cell planner runner links make; };

  # The command line, built in units like any other workspace's programs, with the bootstrap
  # programs beside it.
  assembleWith =
    cargoArgs:
    program ((workspace {
      inherit tree toolchain cargoArgs;
      target = host.rust;
      variables.crateyard-build.CRATEYARD_BOOTSTRAP = "${bootstrap.brought}";
    }).build [
      {
        package = "assemble";
        bin = "assemble";
      }
    ]) "assemble" "assemble";
  # The seed, built from its source to compare it with the one that is checked in. Debian's compiler
  # builds it, because its packages stay in the archive for good.
  seedFor =
    target:
    let
      cross = rootFileSystem {
        name = "cross";
        packages = debian.packagesOf (crossSets.${target});
      };
    in
    program (
      (workspace {
        inherit tree;
        toolchain = [ debianToolchain ] ++ (if target == host.rust then [ ] else [ cross ]);
        profile = "seed";
        inherit target;
        cargoArgs = linking.${target};
      }).build
        [
          {
            package = "crateyard-seed";
            bin = "seed";
          }
        ]
    ) "crateyard-seed" "seed";
  # What links the seed on a machine of the other architecture.
  crossSets = {
    ${systems.x86_64-linux.rust} = "cross-amd64";
    ${systems.aarch64-linux.rust} = "cross-seed";
  };
  # How the seed is linked: on all machines by the same program, so that it has the same bytes.
  linking = {
    ${systems.x86_64-linux.rust} =
      if host.rust == systems.x86_64-linux.rust then
        [ ]
      else
        [
          "--config"
          "target.${systems.x86_64-linux.rust}.linker='${systems.x86_64-linux.gnu}-gcc'"
        ];
    # The linker alone: the program links no C library and no start files.
    ${systems.aarch64-linux.rust} = [
      "--config"
      "target.${systems.aarch64-linux.rust}.linker='${systems.aarch64-linux.gnu}-ld'"
      "--config"
      "target.${systems.aarch64-linux.rust}.rustflags=['-Clinker-flavor=ld']"
    ];
  };
  systems = import ./systems.nix;
  program =
    build: package: bin:
    build.program { inherit package bin; };
in
{
  inherit
    system
    seed
    seedDigest
    debian
    cell
    rootFileSystem
    toolchainOf
    toolchain
    debianToolchain
    tools
    release
    releaseOf
    runtime
    bare
    tree
    workspace
    make
    seedFor
    ;
  inherit bootstrap imageProgram sameBytes;
  descriptionProgram = bootstrap.programs.description;
  assemble = assembleWith [ ];
  # The same for machines without a C library, or with an older one.
  assembleStatic = assembleWith [
    "--config"
    "target.${host.rust}.rustflags=['-Ctarget-feature=+crt-static']"
  ];
  inherit links;
}
