# One file of the web. Name and hash alone make the path in the store: `assemble fetch` puts the
# file there, and Nix downloads it only where that has not happened.
{
  # Its name in the store.
  name,
  url,
  # Its hash: SHA-256 in hexadecimal digits, or Subresource Integrity (`sha512-…`).
  hash,
}:
derivation {
  inherit name url;
  system = "builtin";
  builder = "builtin:fetchurl";
  outputHashMode = "flat";
  # Subresource Integrity says itself which algorithm it is.
  outputHashAlgo = if builtins.match "[^-]*" hash == null then "" else "sha256";
  outputHash = hash;
  preferLocalBuild = true;
}
