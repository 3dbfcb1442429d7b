{
  description = "Container images of Cargo workspaces: a derivation per unit, a layer per part";

  outputs =
    { self }:
    let
      # The systems that can build. Their seeds are in nix/seed.
      systems = [ "x86_64-linux" ];
      forEach =
        function:
        builtins.listToAttrs (
          map (name: {
            inherit name;
            value = function name;
          }) systems
        );
      lib = import ./nix/lib.nix { crateyard = self; };
      made = forEach (system: lib.mkImages { src = self; inherit system; });
    in
    {
      inherit lib;

      packages = (import ./nix/elsewhere.nix).add (forEach (
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
        }
      ));

      # `nix run`, with the command line's arguments after `--`. The static program also starts
      # where there is no C library in /lib, as on NixOS.
      apps = forEach (system: {
        default = {
          type = "app";
          program = "${(lib.foundationFor system).assembleStatic}/bin/assemble";
        };
      });

      # Every unit of the images' binaries by its key in the plan, and the checks and tests of every
      # package.
      legacyPackages = forEach (system: lib.legacyPackagesOf made.${system});

      checks = forEach (
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
                  kept = ./nix/seed + "/seed-${architecture}-linux";
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
        ]
      );

      devShells = forEach (system: { default = made.${system}.shell; });

      # `nix fmt`, also on systems that build nothing.
      formatter = lib.formattersOf made;

      templates = import ./nix/templates.nix;
    };
}
