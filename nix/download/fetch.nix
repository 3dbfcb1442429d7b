# One file of the web. As with Debian's packages, name and hash alone make the path: `assemble
# fetch` puts it there, and only where that has not happened Nix downloads it.
{
  # The part's name.
  name,
  url,
  # In hexadecimal digits.
  sha256,
}:
derivation {
  name = "download-${name}";
  system = "builtin";
  builder = "builtin:fetchurl";
  inherit url;
  outputHashMode = "flat";
  outputHashAlgo = "sha256";
  outputHash = sha256;
  preferLocalBuild = true;
}
