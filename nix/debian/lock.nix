# debian.lock as Nix values: each package of a set as a file in the store.
{
  # The lock: a path.
  lock,
  # Another such value, for sets that the lock does not have. Crateyard's own lock has the sets that
  # every description has by default.
  fallback ? null,
  # Debian's name of the architecture, such as "amd64".
  architecture,
}:
let
  data = builtins.fromJSON (builtins.readFile lock);
  # Suites of Debian's own archives have no address: each machine has its own mirror.
  sources = builtins.listToAttrs (
    map (suite: {
      name = suite.archive;
      value = suite.url;
    }) (builtins.filter (suite: suite ? url) data.suites)
  );
  fetch = import ./fetch.nix {
    inherit (data) snapshot;
    inherit sources;
  };
  known = builtins.mapAttrs fetch data.packages;
  # A package's entry in the lock, with its key's parts.
  entryOf =
    key:
    let
      parts = builtins.match "([^:]*):(.*)" key;
    in
    {
      name = builtins.head parts;
      architecture = builtins.elemAt parts 1;
      inherit (data.packages.${key}) version sha256;
    }
    // archiveOf data.packages.${key}.archive;
  # The archive of a package that is not Debian's.
  archiveOf =
    archive:
    if sources ? ${archive} then
      {
        archive = {
          name = archive;
          url = sources.${archive};
        };
      }
    else
      { };
  has = set: data.sets ? ${set} && data.sets.${set} ? ${architecture};
  packagesOf =
    set:
    if has set then
      map (key: known.${key}) data.sets.${set}.${architecture}
    else if fallback != null then
      fallback.packagesOf set
    else
      missing set;
  missing =
    set:
    throw ''
      debian.lock has no packages of the set "${set}" for ${architecture}: run `assemble lock`.
      It pins the sets of images.toml ([debian.sets.NAME]), and what its images and crates need
      (images.NAME, crates.NAME).
    '';
  # The crates with a set of a kind.
  cratesOf =
    kind:
    builtins.concatMap (
      set:
      let
        name = builtins.match "${kind}\\.(.*)" set;
      in
      if name == null then [ ] else name
    ) (builtins.attrNames data.sets);
in
assert
  data.version == 1
  || throw (
    "debian.lock has format ${toString data.version}, and this version of Crateyard reads 1: "
    + "run `assemble lock`"
  );
{
  # The .deb files of a set, in the order of the lock.
  inherit packagesOf;
  # The lock's entries for them: { name, architecture, version, sha256 }, and for packages that are
  # not Debian's, their `archive`: { name, url }.
  entriesOf =
    set:
    if has set then
      map entryOf data.sets.${set}.${architecture}
    else if fallback != null then
      fallback.entriesOf set
    else
      [ ];
  # The .deb files of a set and their entries: { file, entry } each.
  withEntries =
    set:
    if has set then
      map (key: {
        file = known.${key};
        entry = entryOf key;
      }) data.sets.${set}.${architecture}
    else if fallback != null then
      fallback.withEntries set
    else
      missing set;
  # Whether this lock itself has a set.
  inherit has;
  # The crates that have packages in the lock, and those that have libraries in it.
  crates = cratesOf "crates";
  libraries = cratesOf "libraries";
}
