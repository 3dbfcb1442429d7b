# Crateyard's public interface: the functions that a flake calls.
{
  # Crateyard's own source: a path.
  crateyard,
}:
let
  systems = import ./systems.nix;

  # Crateyard's own pin of a release, and the oldest release that compiles Crateyard's own programs.
  ownLock = crateyard + "/toolchain.lock";
  ownManifest = builtins.fromTOML (builtins.readFile (crateyard + "/Cargo.toml"));
  oldest = ownManifest.workspace.package.rust-version;
  foundationOf =
    toolchainLock: system: host:
    import ./foundation.nix { inherit crateyard system host toolchainLock; };
  # The foundation of everything, by system and compiler. It is made once, however often it is used.
  foundations = builtins.mapAttrs (system: host: {
    release = foundationOf ownLock system host;
    debian = foundationOf null system host;
  }) systems;
  foundationFor = system: foundations.${system}.release;
  # The foundation for a workspace. The workspace's own release compiles it, so that no machine
  # needs two releases, unless that release is too old.
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
    else if
      toString toolchainLock == toString ownLock || builtins.compareVersions release oldest < 0
    then
      foundations.${system}.release
    else
      foundationOf toolchainLock system systems.${system};

  # Whether a release's lock has a compiler that runs on a system.
  runsOn =
    system: toolchainLock:
    (builtins.fromJSON (builtins.readFile toolchainLock)).components.rustc
    ? ${systems.${system}.rust};

  # The names of a description's images, including variants. `nix flake show` needs them without
  # building anything.
  namesIn =
    description:
    let
      images = (builtins.fromTOML (builtins.readFile description)).images or { };
      variantsOf = image: builtins.attrNames (images.${image}.variants or { });
      variants = image: map (variant: "${image}-${variant}") (variantsOf image);
    in
    builtins.concatMap (image: [ image ] ++ variants image) (builtins.attrNames images);

  # The images of a workspace, and the checks of its packages.
  #
  # Gives: { images, all, units, plan, targets, description, evaluation, parents, checks, tests,
  #   checkUnits, storePaths, debianLock, toolchainLock, ownInputs, npmParts, npmInputs, debian }
  #   images       maps names to OCI layouts
  #   all          one derivation with a link to each image
  #   units        maps keys to derivations: every unit of the images' binaries
  #   evaluation   the derivations that evaluation itself builds: tools, then description, then
  #                plan. A machine that builds them first, in that order, never waits for a build
  #                while evaluating. `all` has a link to each
  #   parents      builder and base: the images that Dockerfile.images begins with
  #   checks       maps packages to { test, clippy, doc, fmt }
  #   tests        maps packages to the programs of their tests, as an archive
  #   checkUnits   { test, clippy, doc }: each maps keys to derivations
  #   planLock     the files that belong in the workspace's plan.lock (./imported.nix)
  #   planIsCurrent  the check that plan.lock holds them, or nothing: a set for `checks`
  #   storePaths   { images, binaries, checks }: the store paths of all of them (./store-paths.nix)
  #   toolchain    the compiler as one tree, whose usr/bin a shell can have in its PATH
  #   shell        the compiler as a development shell, for `nix develop`
  #   formatter    rustfmt of the workspace's release, for `nix fmt` (./formatter.nix)
  #   debianLock   the lock of the Debian packages that everything is made of
  #   toolchainLock  the lock of the compiler; "" if it is Debian's
  #   ownInputs    Crateyard's own inputs that `assemble fetch` brings, as JSON: its locks, and
  #                ./bootstrap/programs.nix, `wanted`
  #   npmParts     maps names to parts: those that npm makes
  #   npmInputs    the packages that npm installs for them, as JSON: ./npm/parts.nix, `lists`
  #   debian       the same with Debian's compiler, for machines that can't have the release
  mkImages =
    {
      # The workspace: a path.
      src,
      # The flake that asks, for its revision: `self`.
      self ? src,
      # The system that builds.
      system ? "x86_64-linux",
      # The description of the images: a path.
      description ? src + "/images.toml",
      # The revision for packages that ask git for it: { commit, time, dirty }, time in seconds
      # since 1970.
      revision ? {
        commit = builtins.substring 0 40 (
          self.rev or self.dirtyRev or "0000000000000000000000000000000000000000"
        );
        time = self.lastModified or 0;
        dirty = !(self ? rev);
      },
      # The compiler: "release" for the release that toolchain.lock pins, "debian" for Debian's.
      # Where the lock has no compiler for the system, Debian's takes the place of the release.
      compiler ?
        (builtins.fromTOML (builtins.readFile description)).toolchain.provider or "release",
      # The pin of the release: a path.
      toolchainLock ?
        if builtins.pathExists (src + "/toolchain.lock") then src + "/toolchain.lock" else ownLock,
      # nixpkgs, to use its compiler instead: a flake. Nothing of it is evaluated unless it is
      # given.
      nixpkgs ? null,
      # The parts that images and crates may use, by name: derivations, inputs of the flake, paths.
      # A function gets the system that builds. A part that nothing names is not evaluated.
      parts ? { },
      # The lock of the Debian packages of the images and the toolchain: a path.
      debianLock ?
        if builtins.pathExists (src + "/debian.lock") then
          src + "/debian.lock"
        else
          crateyard + "/debian.lock",
    }@arguments:
    let
      compilers = [
        "release"
        "debian"
      ];
      used = if compiler == "release" && !(runsOn system toolchainLock) then "debian" else compiler;
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
              toolchainLock
              nixpkgs
              revision
              ;
            compiler = used;
          }
        );
      usedFoundation =
        if builtins.elem compiler compilers then
          foundationWith {
            inherit system toolchainLock;
            compiler = used;
          }
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
      toolchainLock = if used == "release" then "${toolchainLock}" else "";
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
      formatter = lazily "fmt" build.formatter;
      all = usedFoundation.links {
        name = "images";
        entries = images;
      };
    }
    // (
      if used == "debian" then
        { }
      else
        { debian = mkImages (arguments // { compiler = "debian"; }); }
    );

  # The results of `mkImages`, under the names that `nix build` is given.
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
      # Includes the stages, which the driver asks for one by one.
      evaluation = made.evaluation.all // {
        inherit (made.evaluation) tools description plan;
      };
      inherit (made) toolchain;
      builder-image = made.parents.builder;
      base-image = made.parents.base;
    };

  # The checks of some packages from the results of `mkImages`, under the names that `nix flake
  # check` expects: PACKAGE-test, PACKAGE-clippy, PACKAGE-doc, PACKAGE-fmt.
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

  # The results of `mkImages` that `nix build` finds in sets of their own: tests.PACKAGE,
  # checks.PACKAGE.test, units.KEY; and everything with Debian's compiler: debian.NAME-image.
  legacyPackagesOf =
    made:
    attributesOf made
    // (
      if made ? debian then
        { debian = packagesOf made.debian // attributesOf made.debian; }
      else
        { }
    );
  # What a system that is not among a flake's `buildSystems` builds, from the results of `mkImages`:
  # `nix build` finds these packages under their own names, too. They are not in `packages`, because
  # the `nix flake check` of older Nix evaluates those of all systems, and evaluation runs programs
  # of the system.
  elsewhereOf =
    made:
    legacyPackagesOf made
    // packagesOf made
    // {
      inherit (made) shell;
      checks = made.checks // checksOf made (builtins.attrNames made.checks) // made.planIsCurrent;
    };
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

  # The formatters of a flake, from the results of `mkImages` by system. Systems that build nothing
  # format with the machine's rustup or cargo.
  formattersOf =
    made:
    builtins.listToAttrs (
      map (system: {
        name = system;
        value = import ./formatter.nix { };
      }) (import ./elsewhere.nix).systems
    )
    // builtins.mapAttrs (_: each: each.formatter) made;

  # The outputs of a flake that has only images: packages, checks, a shell and a formatter for each
  # system.
  mkFlake =
    {
      src,
      # The systems whose machines have packages, checks and a shell. Other machines that can build
      # have the same below `legacyPackages`.
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
        }) (builtins.attrNames systems)
      );
      own = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = made.${name};
        }) buildSystems
      );
      each = function: builtins.mapAttrs (_: function) own;
    in
    {
      packages = (import ./elsewhere.nix).add (each packagesOf);
      checks = each (
        made:
        checksOf made (if checked == null then builtins.attrNames made.checks else checked)
        // made.planIsCurrent
      );
      legacyPackages = builtins.mapAttrs (_: elsewhereOf) made // each legacyPackagesOf;
      devShells = each (made: { default = made.shell; });
      formatter = formattersOf own;
    };

  # The outputs of a flake that has others, too: its own, and those that `mkFlake` makes of the same
  # arguments. If both have an output, such as the package `default`, the flake's own wins.
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
    outputs
    // builtins.mapAttrs (name: _: add name) (removeAttrs made [ "formatter" ])
    # A system has one formatter, which is not a set of outputs.
    // { formatter = made.formatter // (outputs.formatter or { }); };
in
{
  inherit
    mkImages
    mkFlake
    addImages
    packagesOf
    checksOf
    legacyPackagesOf
    elsewhereOf
    formattersOf
    foundationFor
    ;
}
