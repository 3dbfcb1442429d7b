# A compiler of a release channel, from its distribution manifest: a file such as
# channel-rust-1.95.0.toml, which pins each component by SHA-256.
{
  cell,
  # Root file systems with sh, tar, gzip and xz.
  tools,
}:
{
  # The manifest: a path.
  manifest,
  # The platform that compiles, and platforms that are compiled for beside it, as rustc names them.
  host,
  targets ? [ ],
}:
let
  channel = builtins.fromTOML (builtins.readFile manifest);
  version = builtins.head (builtins.split " " channel.pkg.rustc.version);
  fetch =
    { url, hash }:
    derivation {
      name = builtins.baseNameOf url;
      system = "builtin";
      builder = "builtin:fetchurl";
      inherit url;
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = hash;
      preferLocalBuild = true;
    };
  archiveOf =
    component: target:
    let
      found = channel.pkg.${component}.target.${target} or { available = false; };
    in
    if !(found.available or false) then
      throw "${toString manifest} has no component \"${component}\" for ${target}"
    else
      fetch (
        if found ? xz_url then
          {
            url = found.xz_url;
            hash = found.xz_hash;
          }
        else
          { inherit (found) url hash; }
      );
  components =
    map (component: archiveOf component host) [
      "cargo"
      "clippy-preview"
      "rustc"
      "rustfmt-preview"
    ]
    ++ map (archiveOf "rust-std") ([ host ] ++ targets);
in
cell {
  name = "rust-${version}";
  roots = tools;
  program = "/usr/bin/sh";
  args = [ "${./channel.sh}" ];
  attributes = {
    inherit components;
  };
}
