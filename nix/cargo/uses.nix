# Maps the key of each unit to the keys of the libraries that Cargo passes to it with `--extern`.
# The plan lists more dependencies for a linked unit: the code of all libraries below it.
{
  # Maps keys to entries of the plan (crates/plan: `Planned`).
  planned,
}:
let
  # `/…/libserde-HASH.rlib` and the unit `serde-1.0.219-HASH` have the same hash by Cargo. A macro
  # is a `.so`, and units that use it contain nothing of it.
  hashOfFile = path: builtins.match ".*-([0-9a-f]+)\\.r(lib|meta)" path;
  hashOfKey = key: builtins.head (builtins.match ".*-([0-9a-f]+)" key);
  isWhole = key: !(planned.${key}.unit.action.metadataOnly or false);
  keys = builtins.filter isWhole (builtins.attrNames planned);
  byHash = builtins.listToAttrs (
    map (key: {
      name = hashOfKey key;
      value = key;
    }) keys
  );
  externs =
    args:
    let
      step =
        { found, follows }:
        arg: {
          found = if follows then found ++ [ arg ] else found;
          follows = arg == "--extern";
        };
    in
    (builtins.foldl' step {
      found = [ ];
      follows = false;
    } args).found;
in
builtins.mapAttrs (
  _: unit:
  builtins.concatMap (
    extern:
    let
      hash = hashOfFile extern;
    in
    if hash == null then [ ] else [ byHash.${builtins.head hash} ]
  ) (externs (unit.unit.action.args or [ ]))
) planned
