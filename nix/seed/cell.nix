# A derivation whose program runs inside a cell. Its /usr, /etc and so on are root file systems from
# the store, and nothing of the machine is visible.
{
  system,
  seed,
}:
{
  # The derivation's name.
  name,
  # Root file systems; where two hold the same file, the earlier one wins.
  roots,
  # The program to run, and its arguments.
  program,
  args ? [ ],
  # Empty directories that the program may write to.
  writable ? [ ],
  # The same in memory, which lists files in the same order on every machine.
  memory ? [ ],
  # More attributes of the derivation: environment variables, passAsFile, outputs...
  attributes ? { },
}:
let
  each = option: values: builtins.concatMap (value: [ option "${value}" ]) values;
in
derivation (
  attributes
  // {
    inherit name system;
    builder = seed;
    args = [
      "cell"
      "--no-network"
    ]
    ++ each "--root" roots
    ++ each "--writable" writable
    ++ each "--memory" memory
    ++ [
      "--"
      program
    ]
    ++ args;
  }
)
