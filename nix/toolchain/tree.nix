# A release's components as one tree, for programs outside cells. It has real files, because rustc
# resolves links before it looks for its libraries beside itself.
{
  cell,
  # Root file systems with sh and cp.
  tools,
}:
{
  # ./release.nix, applied to a lock.
  release,
}:
cell {
  name = "toolchain";
  roots = tools;
  program = "/usr/bin/sh";
  args = [
    "-euc"
    ''
      export PATH=/usr/bin
      mkdir "$out"
      for component in $components; do
        cp -R "$component/." "$out"
        chmod -R u+w "$out"
      done
    ''
  ];
  attributes.components = release.all;
}
