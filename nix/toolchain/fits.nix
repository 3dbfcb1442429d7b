# A release, if it is the one that the workspace asks for; else what to do.
{
  # images.toml, and the workspace: paths.
  description,
  root,
  # The workspace's parsed manifests by directory.
  packages,
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
  # Packages that a release is too old for. Members may inherit what the root says.
  shared = (builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"))).workspace.package.rust-version or "0";
  versionOf =
    package:
    let
      own = package.package.rust-version or "0";
    in
    if builtins.isString own then own else shared;
  isTooOld = package: builtins.compareVersions release.release (versionOf package) < 0;
  demanding = builtins.filter isTooOld (builtins.filter (package: package ? package) (builtins.attrValues packages));
in
if asked != null && asked.channel != release.channel then
  throw ''
    ${asked.by} asks for Rust ${asked.channel}, and toolchain.lock pins ${release.channel}: run `assemble lock`.
    A workspace without a toolchain.lock has Crateyard's own.
  ''
else if asked == null && demanding != [ ] then
  let
    package = builtins.head demanding;
  in
  throw ''
    ${package.package.name} wants Rust ${versionOf package}, and toolchain.lock pins ${release.release}: run `assemble lock`.
    A workspace without a toolchain.lock has Crateyard's own.
  ''
else
  release
