# Fails unless a program that was built has the bytes of the one that is checked in.
{
  system,
  # A root file system with sh and cmp.
  tools,
  cell,
}:
{
  # The name of the check.
  name,
  # Two files.
  built,
  checkedIn,
}:
cell {
  inherit name;
  roots = [ tools ];
  program = "/usr/bin/sh";
  args = [
    "-c"
    ''
      if ! /usr/bin/cmp "$built" "$checkedIn"; then
        echo "The seed in nix/seed is not what crates/seed gives. docs/seed.md says how to renew it." >&2
        exit 1
      fi
      /usr/bin/mkdir "$out"
    ''
  ];
  attributes = {
    inherit built checkedIn;
  };
}
