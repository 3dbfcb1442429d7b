# Fails unless the built programs have the same bytes as the kept ones.
{
  # A root file system with sh and cmp.
  tools,
  cell,
}:
{
  # The name of the check.
  name,
  # { built, kept } for each program: two files.
  pairs,
  # The remedy if they differ: a sentence.
  cure,
}:
cell {
  inherit name;
  roots = [ tools ];
  program = "/usr/bin/sh";
  args = [
    "-c"
    ''
      for pair in $pairs; do
        if ! /usr/bin/cmp "''${pair%=*}" "''${pair#*=}"; then
          echo "$cure" >&2
          exit 1
        fi
      done
      /usr/bin/mkdir "$out"
    ''
  ];
  attributes = {
    inherit cure;
    pairs = builtins.concatStringsSep " " (map ({ built, kept }: "${built}=${kept}") pairs);
  };
}
