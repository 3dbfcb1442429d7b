# Crateyard's public interface: what a flake calls.
{
  # Crateyard's own source: a path.
  crateyard,
}:
let
  systems = {
    x86_64-linux = {
      architecture = "amd64";
      rust = "x86_64-unknown-linux-gnu";
      platform = "linux/amd64";
    };
    aarch64-linux = {
      architecture = "arm64";
      rust = "aarch64-unknown-linux-gnu";
      platform = "linux/arm64";
    };
  };

  # Crateyard's own pin of a release, and the oldest release that compiles Crateyard's own programs.
  ownLock = crateyard + "/toolchain.lock";
  oldest = (builtins.fromTOML (builtins.readFile (crateyard + "/Cargo.toml"))).workspace.package.rust-version;
  foundationOf =
    toolchainLock: system: host:
    import ./foundation.nix { inherit crateyard system host toolchainLock; };
  # The foundation of everything, by system and compiler: made once, however often it
  # is asked for.
  foundations = builtins.mapAttrs (system: host: {
    release = foundationOf ownLock system host;
    debian = foundationOf null system host;
  }) systems;
  foundationFor = system: foundations.${system}.release;
  # The foundation for a workspace: compiled by its own release, so that no machine needs two,
  # unless that is too old.
  foundationWith =
    {
      system,
      compiler,
      toolchainLock,
    }:
    let
      inherit (builtins.fromJSON (builtins.readFile toolchainLock)) release;
    in
    if compiler == "debian" then
      foundations.${system}.debian
    else if toString toolchainLock == toString ownLock || builtins.compareVersions release oldest < 0 then
      foundations.${system}.release
    else
      foundationOf toolchainLock system systems.${system};

  # The names of a description's images, variants among them. Known without building anything,
  # as `nix flake show` wants it.
  namesIn =
    description:
    let
      images = (builtins.fromTOML (builtins.readFile description)).images or { };
      variants = image: map (variant: "${image}-${variant}") (builtins.attrNames (images.${image}.variants or { }));
    in
    builtins.concatMap (image: [ image ] ++ variants image) (builtins.attrNames images);

  # The images of a workspace, and the checks of its packages.
  #
  # Gives: { images, all, units, plan, targets, description, evaluation, parents, checks, tests,
  #   checkUnits, storePaths,
  #   debianLock, toolchainLock, ownInputs, npmParts, npmInputs, debian }
  #   images       name to OCI layout
  #   all          one derivation with a link to each image
  #   units        key to derivation: every unit of the images' binaries
  #   evaluation   what evaluation itself has built: tools, then description, then plan. Who builds
  #                them first, in that order, never waits for a build while evaluating. In `all` there
  #                is a link to each
  #   parents      builder and base: what Dockerfile.images begins with
  #   checks       package to { test, clippy, doc, fmt }
  #   tests        package to the programs of its tests, as an archive
  #   checkUnits   { test, clippy, doc }: key to derivation
  #   planLock     what the workspace's plan.lock is to hold (./imported.nix)
  #   planIsCurrent  the check that it holds that, or nothing: a set for `checks`
  #   storePaths   { images, binaries, checks }: what all of them will lie at (./store-paths.nix)
  #   toolchain    what compiles, as one tree whose usr/bin a shell can have in its PATH
  #   shell        the same as a development shell, for `nix develop`
  #   debianLock   the lock of the Debian packages that it is all made of
  #   toolchainLock  the lock of the compiler; "" where that is Debian's
  #   ownInputs    what `assemble fetch` brings of Crateyard's own, as JSON: its locks, and
  #                ./bootstrap/programs.nix, `wanted`
  #   npmParts     name to part: those that npm makes
  #   npmInputs    what npm installs for them, as JSON: ./npm/parts.nix, `lists`
  #   debian       the same with Debian's compiler, for machines that can't have the release
  mkImages =
    {
      # The workspace: a path.
      src,
      # The system that builds.
      system ? "x86_64-linux",
      # What goes into the images: a path.
      description ? src + "/images.toml",
      # The revision for packages that ask git for it: { commit, time, dirty }, time in seconds
      # since 1970. A flake knows its own.
      revision ? {
        commit = builtins.substring 0 40 (src.rev or src.dirtyRev or "0000000000000000000000000000000000000000");
        time = src.lastModified or 0;
        dirty = !(src ? rev);
      },
      # What compiles: "release" for the release that toolchain.lock pins, "debian" for Debian's
      # compiler.
      compiler ? (builtins.fromTOML (builtins.readFile description)).toolchain.provider or "release",
      # What the release is pinned by: a path.
      toolchainLock ? if builtins.pathExists (src + "/toolchain.lock") then src + "/toolchain.lock" else ownLock,
      # nixpkgs, for its compiler instead: a flake. Nothing of it is evaluated unless it is given.
      nixpkgs ? null,
      # What images and crates may name as a part, by name: derivations, inputs of the flake, paths.
      # A function gets the system that builds. A part that nothing names is not evaluated.
      parts ? { },
      # What Debian packages they and the toolchain are made of: a path.
      debianLock ? if builtins.pathExists (src + "/debian.lock") then src + "/debian.lock" else crateyard + "/debian.lock",
    }@arguments:
    let
      compilers = [
        "release"
        "debian"
      ];
      build = buildWith { };
      buildWith =
        more:
        import ./images.nix (
          more
          // {
            host = systems.${system};
            foundation = usedFoundation;
            parts = if builtins.isFunction parts then parts system else parts;
            inherit
              src
              description
              debianLock
              compiler
              toolchainLock
              nixpkgs
              revision
              ;
          }
        );
      usedFoundation =
        if builtins.elem compiler compilers then
          foundationWith { inherit system compiler toolchainLock; }
        else
          throw "mkImages knows the compilers \"release\" and \"debian\", not \"${compiler}\"";
      lazily =
        name: derivation:
        import ./lazy.nix { inherit name system derivation; };
      images = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = lazily "${name}-image" (build.image name);
        }) (namesIn description)
      );
      checks = builtins.mapAttrs (
        package: builtins.mapAttrs (kind: lazily "${package}-${kind}")
      ) build.checks.packages;
    in
    {
      inherit images;
      inherit (build)
        units
        plan
        targets
        description
        parents
        ;
      evaluation = build.evaluation // {
        all = lazily "evaluation" build.evaluation.all;
      };
      inherit checks;
      storePaths = import ./store-paths.nix {
        inherit images checks;
        inherit (build) programs;
      };
      tests = builtins.mapAttrs (package: lazily "${package}-tests") build.checks.archives;
      planLock = lazily "plan.lock" (buildWith { readsKept = false; }).planLock;
      planIsCurrent =
        if builtins.pathExists (src + "/plan.lock") then
          { plan-is-current = lazily "plan-is-current" build.planIsCurrent; }
        else
          { };
      checkUnits = build.checks.units;
      debianLock = "${debianLock}";
      toolchainLock = if compiler == "release" then "${toolchainLock}" else "";
      npmParts = build.npm.parts;
      npmInputs = builtins.toJSON {
        version = 1;
        parts = build.npm.lists;
      };
      ownInputs = builtins.toJSON {
        version = 1;
        source = "${crateyard}";
        debianLock = "${crateyard + "/debian.lock"}";
        toolchainLock = "${ownLock}";
        programs = usedFoundation.bootstrap.wanted;
      };
      toolchain = lazily "toolchain" build.toolchain;
      shell = import ./shell.nix { inherit system; inherit (usedFoundation) links imageProgram; } {
        inherit (build) toolchain;
      };
      all = usedFoundation.links {
        name = "images";
        entries = images;
      };
    }
    // (if compiler == "debian" then { } else { debian = mkImages (arguments // { compiler = "debian"; }); });

  # What `mkImages` has made, under the names that `nix build` is given.
  packagesOf =
    made:
    builtins.listToAttrs (
      map (name: {
        name = "${name}-image";
        value = made.images.${name};
      }) (builtins.attrNames made.images)
    )
    // {
      images = made.all;
      default = made.all;
      # With its stages, which the driver asks for one by one.
      evaluation = made.evaluation.all // {
        inherit (made.evaluation) tools description plan;
      };
      inherit (made) toolchain;
      builder-image = made.parents.builder;
      base-image = made.parents.base;
    };

  # The checks of some packages that `mkImages` has made, under the names that `nix flake check`
  # wants: PACKAGE-test, PACKAGE-clippy, PACKAGE-doc, PACKAGE-fmt.
  checksOf =
    made: packages:
    builtins.listToAttrs (
      builtins.concatMap (
        package:
        map (kind: {
          name = "${package}-${kind}";
          value = made.checks.${package}.${kind};
        }) (builtins.attrNames made.checks.${package})
      ) packages
    );

  # What `mkImages` has made that `nix build` finds below a name of its own: tests.PACKAGE,
  # checks.PACKAGE.test, units.KEY; and all of it with Debian's compiler: debian.NAME-image.
  legacyPackagesOf =
    made:
    attributesOf made
    // (if made ? debian then { debian = packagesOf made.debian // attributesOf made.debian; } else { });
  attributesOf = made: {
    inherit (made)
      units
      plan
      targets
      description
      evaluation
      checks
      tests
      planLock
      storePaths
      debianLock
      toolchainLock
      ownInputs
      npmParts
      npmInputs
      ;
  };

  # The outputs of a flake that has nothing but images: packages, checks and a shell for each
  # system.
  mkFlake =
    {
      src,
      # Systems that build.
      buildSystems ? [ "x86_64-linux" ],
      # The packages that `nix flake check` checks; null for all members.
      checked ? null,
      ...
    }@arguments:
    let
      made = builtins.listToAttrs (
        map (system: {
          name = system;
          value = mkImages (
            removeAttrs arguments [
              "buildSystems"
              "checked"
            ]
            // {
              inherit system;
            }
          );
        }) buildSystems
      );
      each = function: builtins.mapAttrs (_: function) made;
    in
    {
      packages = import ./elsewhere.nix (each packagesOf);
      checks = each (
        made:
        checksOf made (if checked == null then builtins.attrNames made.checks else checked)
        // made.planIsCurrent
      );
      legacyPackages = each legacyPackagesOf;
      devShells = each (made: { default = made.shell; });
    };

  # The outputs of a flake that has others, too: these, and what `mkFlake` makes of the same
  # arguments. What both have, such as the package `default`, stays theirs.
  addImages =
    arguments: outputs:
    let
      made = mkFlake arguments;
      add =
        name:
        let
          theirs = outputs.${name} or { };
        in
        theirs // builtins.mapAttrs (system: own: own // (theirs.${system} or { })) made.${name};
    in
    outputs // builtins.mapAttrs (name: _: add name) made;
in
{
  inherit
    mkImages
    mkFlake
    addImages
    packagesOf
    checksOf
    legacyPackagesOf
    foundationFor
    ;
}
