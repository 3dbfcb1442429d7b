# One package of a package-lock.json, as its registry serves it. `assemble fetch` downloads it
# through npm.
{
  # The package's name, with its scope.
  name,
  version,
  # The package's address.
  url,
  # The hash in the lock: Subresource Integrity, `sha512-…`.
  integrity,
}:
let
  # The store allows fewer characters in names than npm does.
  allowed =
    builtins.replaceStrings
      [ "@" "/" "~" "!" "*" "'" "(" ")" ]
      [ "" "-" "-" "-" "-" "-" "-" "-" ];
in
import ../fetch.nix {
  name = "${allowed name}-${allowed version}.tgz";
  inherit url;
  hash = integrity;
}
