# debian.lock as Nix values: each package of a set as a file in the store.
{
  # The lock: a path.
  lock,
  # Debian's name of the architecture, such as "amd64".
  architecture,
}:
let
  data = builtins.fromJSON (builtins.readFile lock);
  fetch = import ./fetch.nix { inherit (data) snapshot; };
  known = builtins.mapAttrs fetch data.packages;
  keysOf =
    set:
    data.sets.${set}.${architecture} or (throw ''
      debian.lock has no packages of the set "${set}" for ${architecture}.
      Name the set in images.toml ([debian.sets.${set}]) and run `assemble lock`.
    '');
in
assert
  data.version == 1
  || throw "debian.lock has format ${toString data.version}, this version of Crateyard reads 1: run `assemble lock`";
{
  # The .deb files of a set, in the order of the lock.
  packagesOf = set: map (key: known.${key}) (keysOf set);
  # Whether the lock has the set for this architecture.
  has = set: data.sets ? ${set} && data.sets.${set} ? ${architecture};
}
