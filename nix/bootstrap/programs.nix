# The programs that must exist before there are units, and those that evaluation runs: planner, unit
# runner, description and image program. They are data, as the seed is: single files without
# references, whose paths in the store depend on their bytes alone.
#
# A program is a fixed output: a machine that has it from a cache or from the command line never
# compiles it. bootstrap.lock pins the bytes, and says of which source they are. Of an edited source
# the program is built while Nix evaluates, and its bytes are taken from there. If the edit has
# changed no byte, it is the same path, and nothing is built again.
#
# Gives: { programs, needed, brought, fromSource, wanted, check }
#   programs    name to the program: a string
#   needed      what evaluation has built: a directory of links
#   brought     all programs as a command line brings them along: bin/NAME
#   fromSource  all programs as the source gives them, as `assemble bootstrap` reads them:
#               bin/NAME, and the hash of its source in NAME.source
#   wanted      what `assemble fetch` reads: of each group of programs the paths in the store, null where
#               they are not known, and the crates that they are made of
#   check       fails unless bootstrap.lock has the bytes that the source gives
{
  system,
  seed,
  cell,
  links,
  # ../same-bytes.nix, applied to its tools.
  sameBytes,
  # A root file system with cp.
  tools,
  # bootstrap.lock: a path; null where nothing is pinned.
  lock,
  # ./built.nix, applied to its compiler.
  builtOf,
}:
let
  groups = [
    {
      programs = [
        "unit"
        "plan"
        "description"
      ];
      crates = [
        "unit"
        "plan"
        "description"
        "spec"
      ];
    }
    {
      programs = [ "image" ];
      crates = [
        "image"
        "unit"
        "oci"
        "debian"
        "spec"
      ];
    }
  ];
  data = if lock == null then { } else builtins.fromJSON (builtins.readFile lock);
  pins =
    if lock == null then
      { }
    else if data.version == 1 then
      data.programs.${system} or { }
    else
      throw "bootstrap.lock has format ${toString data.version}, this version of Crateyard reads 1: run `assemble bootstrap`";

  # Name to { source, built, pin, isCurrent }.
  known = builtins.listToAttrs (
    builtins.concatMap (
      group:
      let
        made = builtOf group;
      in
      map (name: {
        inherit name;
        value = made // {
          pin = pins.${name} or null;
          isCurrent = pins ? ${name} && pins.${name}.source == made.source;
        };
      }) group.programs
    ) groups
  );
  fixed =
    name:
    {
      pin,
      built,
      isCurrent,
      ...
    }:
    cell {
      name = "bootstrap-${name}";
      roots = [ tools ];
      program = "/usr/bin/cp";
      args = [
        "${built}/bin/${name}"
        (placeholder "out")
      ];
      attributes = {
        outputHashMode = "recursive";
        outputHashAlgo = "sha256";
        outputHash =
          if isCurrent then
            pin.files
          else
            builtins.head (builtins.split "\n" (builtins.readFile "${built}/${name}.files"));
      };
    };
  names = builtins.attrNames known;
  # All of them, or none: a lock that lacks one is not of the source.
  pinned = if pins == { } then [ ] else names;
  stale = builtins.filter (name: !known.${name}.isCurrent) pinned;
  # Evaluation reads the hash of what is not pinned, and runs these two.
  isRun = name: name == "plan" || name == "description";
in
{
  programs = builtins.mapAttrs (name: program: "${fixed name program}") known;
  needed = links {
    name = "tools";
    entries = builtins.listToAttrs (
      map (name: {
        inherit name;
        value = if known.${name}.isCurrent then fixed name known.${name} else known.${name}.built;
      }) (builtins.filter (name: isRun name || !known.${name}.isCurrent) names)
    );
  };
  brought = links {
    name = "brought";
    entries = builtins.listToAttrs (
      map (name: {
        name = "bin/${name}";
        value = fixed name known.${name};
      }) names
    );
  };
  fromSource = derivation {
    name = "bootstrap";
    inherit system;
    builder = seed;
    args = [
      "unpack"
      "--into"
      (placeholder "out")
    ]
    ++ builtins.concatMap (name: [
      "--symlink"
      "bin/${name}=${known.${name}.built}/bin/${name}"
      "--text"
      "${name}.source=${known.${name}.source}"
    ]) names;
  };
  wanted = map (
    group:
    let
      pathOf = name: if known.${name}.isCurrent then "${fixed name known.${name}}" else null;
    in
    {
      programs = builtins.listToAttrs (
        map (name: {
          inherit name;
          value = pathOf name;
        }) group.programs
      );
      inherit (builtOf group) crates;
    }
  ) groups;
  check = sameBytes {
    name = "bootstrap";
    pairs = map (name: {
      built = "${known.${name}.built}/bin/${name}";
      kept = if known.${name}.isCurrent then fixed name known.${name} else "/of-another-source/${name}";
    }) pinned;
    cure = "bootstrap.lock is not of the source in crates/ (${builtins.concatStringsSep ", " stale}). To renew it, run: assemble bootstrap";
  };
}
