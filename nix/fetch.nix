# One file of the web. Its name and hash alone make its path in the store. `assemble fetch` puts the
# file there; otherwise Nix downloads it.
{
  # The file's name in the store.
  name,
  url,
  # The file's hash: SHA-256 in hexadecimal digits, or Subresource Integrity (`sha512-…`).
  hash,
}:
derivation {
  inherit name url;
  system = "builtin";
  builder = "builtin:fetchurl";
  outputHashMode = "flat";
  # A Subresource Integrity hash names its own algorithm.
  outputHashAlgo = if builtins.match "[^-]*" hash == null then "" else "sha256";
  outputHash = hash;
  preferLocalBuild = true;
}
