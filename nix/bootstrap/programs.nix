# The programs that must exist before there are units, and those that evaluation runs: the planner,
# the unit runner, the description program and the image program. Like the seed, they are data:
# single files without references, whose store paths depend on their bytes alone.
#
# A program is a fixed output, so a machine that has it from a cache or from the command line never
# compiles it. bootstrap.lock pins the bytes and names their source. If the source was edited, Nix
# builds the program during evaluation and takes its bytes from there. If the edit changed no byte,
# the path stays the same, and nothing is built again.
#
# Gives: { programs, needed, brought, fromSource, wanted, check }
#   programs    maps names to programs: strings
#   needed      the programs that evaluation builds: a directory of links
#   brought     all programs as a command line brings them along: bin/NAME
#   fromSource  all programs built from source, as `assemble bootstrap` reads them: bin/NAME, and
#               the hash of its source in NAME.source
#   wanted      the list for `assemble fetch`: for each group of programs, the store paths (null if
#               they are not known) and the crates that they are made of
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
  # bootstrap.lock: a path; null if nothing is pinned.
  lock,
  # ./built.nix, applied to its compiler.
  builtOf,
}:
let
  # The programs of a group are built together.
  groups = [
    [
      "unit"
      "plan"
      "description"
    ]
    [ "image" ]
  ];
  data = if lock == null then { } else builtins.fromJSON (builtins.readFile lock);
  pins =
    if lock == null then
      { }
    else if data.version == 1 then
      data.programs.${system} or { }
    else
      throw (
        "bootstrap.lock has format ${toString data.version}, and this version of Crateyard reads "
        + "1: run `assemble bootstrap`"
      );

  # Maps names to { source, built, pin, isCurrent }.
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
      }) group
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
  # All of them or none: a lock that lacks one does not match the source.
  pinned = if pins == { } then [ ] else names;
  stale = builtins.filter (name: !known.${name}.isCurrent) pinned;
  # Evaluation runs these two, and reads the hash of any program that is not pinned.
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
        }) group
      );
      inherit (builtOf group) crates;
    }
  ) groups;
  check = sameBytes {
    name = "bootstrap";
    pairs = map (name: {
      built = "${known.${name}.built}/bin/${name}";
      kept =
        if known.${name}.isCurrent then fixed name known.${name} else "/of-another-source/${name}";
    }) pinned;
    cure =
      "bootstrap.lock is not of the source in crates/ (${builtins.concatStringsSep ", " stale}). "
      + "To renew it, run: assemble bootstrap";
  };
}
