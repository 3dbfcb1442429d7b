# Returns a release if it is the one that the workspace asks for. Otherwise fails with the next
# step.
{
  # images.toml, and the workspace: paths.
  description,
  root,
}:
# ./release.nix, applied to a lock.
release:
let
  described = (builtins.fromTOML (builtins.readFile description)).toolchain or { };
  file = root + "/rust-toolchain.toml";
  inFile =
    if builtins.pathExists file then
      (builtins.fromTOML (builtins.readFile file)).toolchain.channel or null
    else
      null;
  asked =
    if described ? release then
      {
        channel = described.release;
        by = "images.toml";
      }
    else if inFile != null then
      {
        channel = inFile;
        by = "rust-toolchain.toml";
      }
    else
      null;
  # The least version in the root manifest, for its package or for all members. Nix does not parse
  # other manifests; Cargo checks them when it plans.
  wanted = builtins.concatLists (
    builtins.filter builtins.isList (
      builtins.split "rust-version *= *\"([0-9.]+)\"" (builtins.readFile (root + "/Cargo.toml"))
    )
  );
  tooNew = builtins.filter (version: builtins.compareVersions release.release version < 0) wanted;
in
if asked != null && asked.channel != release.channel then
  throw ''
    ${asked.by} asks for Rust ${asked.channel}, and toolchain.lock pins ${release.channel}:
    run `assemble lock`.
    A workspace without a toolchain.lock has Crateyard's own.
  ''
else if asked == null && tooNew != [ ] then
  throw ''
    Cargo.toml wants Rust ${builtins.head tooNew}, and toolchain.lock pins ${release.release}:
    run `assemble lock`.
    A workspace without a toolchain.lock has Crateyard's own.
  ''
else
  release
