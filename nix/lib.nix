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

  # The parts that everything is made of, by system: made once, however often they are asked for.
  parts = builtins.mapAttrs (system: host: import ./parts.nix { inherit crateyard system host; }) systems;
  partsFor = system: parts.${system};

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
  # Gives: { images, all, units, plan, targets, description, evaluation, parents, checks, tests, checkUnits, debianLock }
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
  #   debianLock   the lock that it is all made of
  mkImages =
    {
      # The workspace: a path.
      src,
      # The system that builds.
      system ? "x86_64-linux",
      # What goes into the images: a path.
      description ? src + "/images.toml",
      # The manifest of a release channel (channel-rust-VERSION.toml), for its compiler instead of
      # Debian's: a path.
      channel ? null,
      # The revision for packages that ask git for it: { commit, time, dirty }, time in seconds since
      # 1970. A flake knows its own.
      revision ? {
        commit = builtins.substring 0 40 (src.rev or src.dirtyRev or "0000000000000000000000000000000000000000");
        time = src.lastModified or 0;
        dirty = !(src ? rev);
      },
      # nixpkgs, for its compiler instead of Debian's: a flake. Nothing of it is evaluated unless it is given.
      nixpkgs ? null,
      # What Debian packages they and the toolchain are made of: a path.
      debianLock ? if builtins.pathExists (src + "/debian.lock") then src + "/debian.lock" else crateyard + "/debian.lock",
    }:
    let
      build = import ./images.nix {
        host = systems.${system};
        parts = partsFor system;
        inherit
          src
          description
          debianLock
          channel
          nixpkgs
          revision
          ;
      };
      lazily =
        name: derivation:
        import ./lazy.nix { inherit name system derivation; };
      images = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = lazily "${name}-image" (build.image name);
        }) (namesIn description)
      );
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
      checks = builtins.mapAttrs (
        package: builtins.mapAttrs (kind: lazily "${package}-${kind}")
      ) build.checks.packages;
      tests = builtins.mapAttrs (package: lazily "${package}-tests") build.checks.archives;
      checkUnits = build.checks.units;
      debianLock = "${debianLock}";
      all = (partsFor system).links {
        name = "images";
        entries = images;
      };
    };

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
      evaluation = made.evaluation.all;
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
  # checks.PACKAGE.test, units.KEY.
  legacyPackagesOf = made: {
    inherit (made)
      units
      plan
      targets
      description
      evaluation
      checks
      tests
      debianLock
      ;
  };

  # The outputs of a flake that has nothing but images: packages and checks for each system.
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
      packages = each packagesOf;
      checks = each (
        made: checksOf made (if checked == null then builtins.attrNames made.checks else checked)
      );
      legacyPackages = each legacyPackagesOf;
    };

  # The outputs of a flake that has others, too: these, and what `mkFlake` makes of the same arguments. What
  # both have, such as the package `default`, stays theirs.
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
    partsFor
    ;
}
