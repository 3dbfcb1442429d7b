# One .crate file of Cargo.lock. As with Debian's packages, name and hash alone make the path.
{
  name,
  version,
  source,
  checksum,
  ...
}:
let
  isCratesIo =
    source == "registry+https://github.com/rust-lang/crates.io-index"
    || source == "sparse+https://index.crates.io/";
in
derivation {
  name = "${name}-${version}.crate";
  system = "builtin";
  builder = "builtin:fetchurl";
  # Of another registry Nix knows no download address: `assemble fetch` brings the file.
  url =
    if isCratesIo then
      "https://crates.io/api/v1/crates/${name}/${version}/download"
    else
      "file:///run-assemble-fetch-first/${name}-${version}.crate";
  outputHashMode = "flat";
  outputHashAlgo = "sha256";
  outputHash = checksum;
  preferLocalBuild = true;
}
