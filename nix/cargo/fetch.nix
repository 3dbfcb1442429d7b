# One .crate file of Cargo.lock.
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
import ../fetch.nix {
  name = "${name}-${version}.crate";
  # Nix knows the download address of crates.io only: `assemble fetch` brings the files of other
  # registries.
  url =
    if isCratesIo then
      "https://crates.io/api/v1/crates/${name}/${version}/download"
    else
      "file:///run-assemble-fetch-first/${name}-${version}.crate";
  hash = checksum;
}
