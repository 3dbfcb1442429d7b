# The formatter of a workspace, for `nix fmt`: `bin/fmt` (./format), with the workspace's own
# rustfmt.
#
# Nix itself joins the directories, so a system that Crateyard can't build on has the formatter too.
{
  # A tree whose usr/bin has cargo-fmt and rustfmt (./toolchain/tree.nix); null to use the rustup or
  # the cargo of the machine.
  toolchain ? null,
  # A function that makes a directory of links (./foundation.nix); only with a toolchain.
  links ? null,
}:
let
  script = builtins.path {
    name = "format";
    path = ./format;
  };
  tree = links {
    name = "format-toolchain";
    entries.toolchain = toolchain;
  };
  # A directory to join: it is active, and has the same priority as the others and one output.
  joined = directory: [
    "true"
    5
    1
    "${directory}"
  ];
in
derivation {
  name = "fmt";
  system = "builtin";
  builder = "builtin:buildenv";
  # The list of a profile's packages, which is empty because this is not a profile.
  manifest = builtins.toFile "manifest.nix" "[ ]";
  derivations = map joined ([ script ] ++ (if toolchain == null then [ ] else [ tree ]));
  preferLocalBuild = true;
  allowSubstitutes = false;
}
