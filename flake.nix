{
  description = "Container images of Cargo workspaces: one derivation for each unit, one layer for each part";

  outputs =
    { self }:
    let
      systems = [ "x86_64-linux" ];
      forEach = function: builtins.listToAttrs (map (name: { inherit name; value = function name; }) systems);
      lib = import ./nix/lib.nix { crateyard = self; };
    in
    {
      inherit lib;
      packages = forEach (
        system:
        (lib.mkFlake { src = self; }).packages.${system}
        // {
          inherit ((lib.partsFor system)) assemble;
        }
      );
    };
}
