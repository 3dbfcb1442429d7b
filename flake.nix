{
  description = "Container images of Cargo workspaces: a derivation per unit, a layer per part";

  outputs =
    { self }:
    let
      inherit (builtins) mapAttrs;
      lib = import ./nix/lib.nix { crateyard = self; };
      # The systems that can build. Their seeds are in nix/seed.
      made = mapAttrs (system: _: lib.mkImages { src = self; inherit system; }) (
        import ./nix/systems.nix
      );
      # The system whose outputs every machine can evaluate in `nix flake check`. Those of the other
      # one are below `legacyPackages` (nix/lib.nix, `elsewhereOf`).
      forEach = function: { x86_64-linux = function "x86_64-linux"; };

      packagesFor =
        system:
        let
          foundation = lib.foundationFor system;
          named =
            name: derivation:
            import ./nix/lazy.nix { inherit name system derivation; };
        in
        lib.packagesOf made.${system}
        // {
          assemble = named "assemble" foundation.assemble;
          assemble-static = named "assemble" foundation.assembleStatic;
          bootstrap = named "bootstrap" foundation.bootstrap.fromSource;
          seed = named "seed" (foundation.seedFor "x86_64-unknown-linux-gnu");
          seed-aarch64 = named "seed-aarch64" (foundation.seedFor "aarch64-unknown-linux-gnu");
        };

      checksFor =
        system:
        let
          foundation = lib.foundationFor system;
          seedCheck =
            architecture:
            foundation.sameBytes {
              name = "seed-${architecture}";
              pairs = [
                {
                  built = "${foundation.seedFor "${architecture}-unknown-linux-gnu"}/bin/seed";
                  kept = import ./nix/seed/file.nix { system = "${architecture}-linux"; };
                }
              ];
              cure =
                "The seed in nix/seed is not what crates/seed gives. "
                + "docs/seed.md says how to renew it.";
            };
        in
        {
          seed-x86_64 = seedCheck "x86_64";
          seed-aarch64 = seedCheck "aarch64";
          bootstrap = foundation.bootstrap.check;
          images = made.${system}.all;
        }
        # Many tests of the other packages need the machine's tools: `make test` runs them all.
        // lib.checksOf made.${system} [
          "crateyard-plan"
          "crateyard-unit"
        ];
    in
    {
      inherit lib;

      packages = (import ./nix/elsewhere.nix).add (forEach packagesFor);

      # `nix run`, with the command line's arguments after `--`. The static program also starts
      # where there is no C library in /lib, as on NixOS.
      apps = mapAttrs (system: _: {
        default = {
          type = "app";
          program = "${(lib.foundationFor system).assembleStatic}/bin/assemble";
        };
      }) made;

      # Every unit of the images' binaries by its key in the plan, and the checks and tests of every
      # package.
      legacyPackages =
        mapAttrs (
          system: made:
          let
            all = lib.elsewhereOf made;
          in
          all // packagesFor system // { checks = all.checks // checksFor system; }
        ) made
        // forEach (system: lib.legacyPackagesOf made.${system});

      checks = forEach checksFor;

      devShells = forEach (system: { default = made.${system}.shell; });

      # `nix fmt`, also on systems that build nothing.
      formatter = lib.formattersOf (forEach (system: made.${system}));

      templates = import ./nix/templates.nix;
    };
}
