# The programs that must exist before there are units, and those that evaluation runs: the planner,
# the unit runner, the description program and the image program. Like the seed, they are data:
# single files without references, whose store paths depend on their bytes alone.
#
# A program is a fixed output, so a machine that has it from a cache or from the command line never
# compiles it. bootstrap.lock pins the bytes and names their source. If the source was edited, Nix
# builds the program during evaluation and takes its bytes from there. If the edit changed no byte,
# the path stays the same, and nothing is built again.
#
# Gives: { programs, digests, needed, brought, fromSource, wanted, check }
#   programs    maps names to programs: strings
#   digests     maps names to the SHA-256 of the program's bytes, in hexadecimal digits
#   needed      the programs that evaluation builds: a directory of links
#   brought     all programs as a command line brings them along: bin/NAME
#   fromSource  all programs built from source, as `assemble bootstrap` reads them: bin/NAME, and
#               the hash of its source in NAME.source
#   wanted      the list for `assemble fetch`: for each set of programs that are built together, the
#               store paths (null if they are not known) and the crates that they are made of
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
  names = [
    "description"
    "image"
    "plan"
    "unit"
  ];
  # Maps the name of each program to the value of a function.
  each =
    function:
    builtins.listToAttrs (
      map (name: {
        inherit name;
        value = function name;
      }) names
    );
  # They are built together, because most of their crates are the same.
  made = builtOf names;
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

  # Whether the lock has the bytes of this source.
  isCurrent = name: pins ? ${name} && pins.${name}.source == made.source;
  fixed =
    name:
    cell {
      name = "bootstrap-${name}";
      roots = [ tools ];
      program = "/usr/bin/cp";
      args = [
        "${made.built}/bin/${name}"
        (placeholder "out")
      ];
      attributes = {
        outputHashMode = "recursive";
        outputHashAlgo = "sha256";
        outputHash =
          if isCurrent name then
            pins.${name}.files
          else
            builtins.head (builtins.split "\n" (builtins.readFile "${made.built}/${name}.files"));
      };
    };
  # All of them or none: a lock that lacks one does not match the source.
  pinned = if pins == { } then [ ] else names;
  stale = builtins.filter (name: !isCurrent name) pinned;
  # Evaluation runs these two, and reads the hash of any program that is not pinned.
  isRun = name: name == "plan" || name == "description";
in
{
  programs = each (name: "${fixed name}");
  digests = each (
    name:
    if isCurrent name then
      pins.${name}.sha256
    else
      builtins.hashFile "sha256" "${made.built}/bin/${name}"
  );
  needed = links {
    name = "tools";
    entries = builtins.listToAttrs (
      map (name: {
        inherit name;
        value = if isCurrent name then fixed name else made.built;
      }) (builtins.filter (name: isRun name || !isCurrent name) names)
    );
  };
  brought = links {
    name = "brought";
    entries = builtins.listToAttrs (
      map (name: {
        name = "bin/${name}";
        value = fixed name;
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
      "bin/${name}=${made.built}/bin/${name}"
      "--text"
      "${name}.source=${made.source}"
    ]) names;
  };
  wanted = [
    {
      programs = each (name: if isCurrent name then "${fixed name}" else null);
      inherit (made) crates;
    }
  ];
  check = sameBytes {
    name = "bootstrap";
    pairs = map (name: {
      built = "${made.built}/bin/${name}";
      kept = if isCurrent name then fixed name else "/of-another-source/${name}";
    }) pinned;
    cure =
      "bootstrap.lock is not of the source in crates/ (${builtins.concatStringsSep ", " stale}). "
      + "To renew it, run: assemble bootstrap";
  };
}
