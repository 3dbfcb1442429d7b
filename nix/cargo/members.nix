# The packages that lie in a workspace: its members, and what they reach by `path`.
#
# Gives: { manifest, packages, members }
#   manifest  of the root, parsed
#   packages  directory relative to the root ("" for the root itself) to parsed manifest
#   members   the directories of those that Cargo counts as members: `--workspace` means them
{
  # The workspace: a path.
  root,
}:
let
  glob = import ./glob.nix { inherit root; };
  read = dir: builtins.fromTOML (builtins.readFile (root + (if dir == "" then "/Cargo.toml" else "/${dir}/Cargo.toml")));
  rootManifest = read "";
  workspace = rootManifest.workspace or { };
  excluded = map normalize (workspace.exclude or [ ]);
  isExcluded =
    dir: builtins.any (prefix: dir == prefix || builtins.match "${escape prefix}/.*" dir != null) excluded;
  escape = builtins.replaceStrings [ "." "+" ] [ "\\." "\\+" ];
  declared = builtins.filter (dir: !(isExcluded dir)) (builtins.concatMap glob (workspace.members or [ ]));
  own = if rootManifest ? package then [ "" ] else [ ];

  # Removes "." and resolves "..". A path that leaves the root gives null.
  normalize =
    path:
    let
      parts = builtins.filter (part: builtins.isString part && part != "" && part != ".") (
        builtins.split "/" path
      );
      step =
        done: part:
        if done == null then
          null
        else if part != ".." then
          done ++ [ part ]
        else if done == [ ] then
          null
        else
          builtins.genList (builtins.elemAt done) (builtins.length done - 1);
      result = builtins.foldl' step [ ] parts;
    in
    if result == null then null else builtins.concatStringsSep "/" result;

  pathsIn =
    dir: table:
    builtins.concatMap (
      name:
      let
        dependency = table.${name};
        inside = if dependency ? path then normalize "${dir}/${dependency.path}" else null;
      in
      if builtins.isAttrs dependency && inside != null then [ inside ] else [ ]
    ) (builtins.attrNames table);
  tablesOf =
    manifest:
    map (kind: manifest.${kind} or { }) [
      "dependencies"
      "dev-dependencies"
      "build-dependencies"
      "dev_dependencies"
      "build_dependencies"
    ];
  packagesIn =
    dir: tables:
    builtins.filter (inside: builtins.pathExists (root + "/${inside}/Cargo.toml")) (
      builtins.concatMap (pathsIn dir) tables
    );
  dependenciesOf =
    dir: manifest:
    let
      platforms = builtins.attrValues (manifest.target or { });
    in
    packagesIn dir (
      tablesOf manifest
      ++ builtins.concatMap tablesOf platforms
      ++ [ (manifest.workspace.dependencies or { }) ]
    );
  # What replaces a dependency is no member by that alone.
  replacements = packagesIn "" (builtins.attrValues (rootManifest.patch or { }));

  toItem = dir: {
    key = dir;
    manifest = if dir == "" then rootManifest else read dir;
  };
  reachedFrom =
    directories:
    builtins.genericClosure {
      startSet = map toItem directories;
      operator = item: map toItem (dependenciesOf item.key item.manifest);
    };
  start = own ++ declared ++ (if own == [ ] then dependenciesOf "" rootManifest else [ ]);
in
{
  manifest = rootManifest;
  packages = builtins.listToAttrs (
    map (item: {
      name = item.key;
      value = item.manifest;
    }) (reachedFrom (start ++ replacements))
  );
  members = builtins.filter (dir: !(isExcluded dir)) (
    map (item: item.key) (reachedFrom (own ++ declared))
  );
}
