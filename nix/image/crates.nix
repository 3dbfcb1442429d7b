# The list of crates in a program (crates/image: `spec::LinkedCrates`).
{
  # The build of the program: ../cargo/units.nix.
  build,
}:
binary:
let
  root = build.keyOf binary;
  linked = map (item: item.key) (
    builtins.genericClosure {
      startSet = [ { key = root; } ];
      operator = item: map (key: { inherit key; }) build.uses.${item.key};
    }
  );
in
{
  inherit root;
  units = builtins.listToAttrs (
    map (name: {
      inherit name;
      value =
        let
          inherit (build.planned.${name}) package;
        in
        {
          inherit (package) name version;
          source = package.origin.source or "";
          uses = build.uses.${name};
        };
    }) linked
  );
}
