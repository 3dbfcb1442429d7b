# Calls a flake from the files in a directory, as Nix calls a flake from the files that it has
# copied into the store.
#
# Returns the outputs that commands find by name for this system: packages before legacyPackages.
# Facts that only the copy in the store has, such as its hash and its time, are errors here.
{
  # The directory, as a string. Values that evaluation makes of it must not stay in a derivation.
  tree,
  # The place of the flake below it: "" or "/DIRECTORY".
  below,
  # The flake's lock, parsed from JSON.
  lock,
  # For each node of the lock, the attributes that Nix would give its source: at least `narHash`,
  # and no `outPath`. The sources are in the store.
  sources,
  # The only address that evaluation may name. No server answers there.
  nowhere,
}:
let

  # An input is the name of a node, or a list of names to follow from the root.
  nameOf = input: if builtins.isList input then followed lock.root input else input;
  followed =
    name: path:
    if path == [ ] then
      name
    else
      followed (nameOf lock.nodes.${name}.inputs.${builtins.head path}) (builtins.tail path);

  # Returns a source that is already in the store under this hash, without a download.
  inStore =
    source:
    builtins.fetchTarball {
      name = "source";
      url = nowhere;
      sha256 = source.narHash;
    };

  unknown = what: throw "a flake that is not in the store has no ${what}";
  # Nix treats a changed repository as one without a revision.
  ownSource = {
    outPath = tree;
    narHash = unknown "narHash";
    lastModified = unknown "lastModified";
    lastModifiedDate = unknown "lastModifiedDate";
    dirtyRev = unknown "dirtyRev";
    dirtyShortRev = unknown "dirtyShortRev";
    submodules = false;
  };

  call =
    name: node:
    let
      isRoot = name == lock.root;
      source =
        if isRoot then ownSource else sources.${name} // { outPath = inStore sources.${name}; };
      directory = if isRoot then below else under (node.locked.dir or "");
      outPath = source + directory;
      flake = import (outPath + "/flake.nix");
      inputs = builtins.mapAttrs (_: input: called.${nameOf input}) (node.inputs or { });
      outputs = flake.outputs (inputs // { self = result; });
      result =
        outputs
        // source
        // {
          inherit outPath inputs outputs;
          sourceInfo = source;
          _type = "flake";
        };
    in
    if node.flake or true then result else source;
  under = directory: if directory == "" then "" else "/${directory}";
  called = builtins.mapAttrs call lock.nodes;

  flake = called.${lock.root};
  ofSystem = outputs: outputs.${builtins.currentSystem} or { };
in
ofSystem (flake.legacyPackages or { }) // ofSystem (flake.packages or { })
