# One package of a package-lock.json, as its registry serves it. Name and hash alone make the path,
# so `assemble fetch` can put it there through npm; only where that has not happened Nix downloads it.
{
  # The package's name, with its scope.
  name,
  version,
  # Where it is.
  url,
  # The hash in the lock: Subresource Integrity, `sha512-…`.
  integrity,
}:
let
  # The store allows fewer characters in names than npm does.
  allowed = builtins.replaceStrings [ "@" "/" "~" "!" "*" "'" "(" ")" ] [ "" "-" "-" "-" "-" "-" "-" "-" ];
in
derivation {
  name = "${allowed name}-${allowed version}.tgz";
  system = "builtin";
  builder = "builtin:fetchurl";
  inherit url;
  outputHashMode = "flat";
  # The hash itself says which it is.
  outputHashAlgo = "";
  outputHash = integrity;
  preferLocalBuild = true;
}
