# Cargo.lock as Nix values.
{
  # The lock: a path.
  lock,
}:
let
  data = builtins.fromTOML (builtins.readFile lock);
  packages = data.package or [ ];
  outside = builtins.filter (package: package ? source) packages;
  # Packages of a lock of version 1 or 2 have their checksums elsewhere.
  checksumOf =
    package:
    package.checksum
      or (data.metadata."checksum ${package.name} ${package.version} (${package.source})" or null);
  withPath =
    package:
    let
      checksum = checksumOf package;
    in
    {
      inherit (package) name version source;
    }
    // (
      if checksum == null then
        { path = checkouts.${package.source}; }
      else
        {
          inherit checksum;
          path = import ./fetch.nix (package // { inherit checksum; });
        }
    );
  # Each commit is fetched once, however many packages come from it.
  checkouts = builtins.listToAttrs (
    map (package: {
      name = package.source;
      value = "${import ./git.nix package}";
    }) (builtins.filter (package: checksumOf package == null) outside)
  );
  located = map withPath outside;
in
{
  inherit packages;
  inherit (data) version;
  # The names of the packages that lie in the workspace: its members, and what they reach by `path`. Cargo wrote
  # them, so that nobody needs to read manifests to know them.
  own = builtins.attrNames (
    builtins.listToAttrs (
      map (package: {
        inherit (package) name;
        value = true;
      }) (builtins.filter (package: !(package ? source)) packages)
    )
  );
  # Name to the packages that have it.
  named = builtins.groupBy (package: package.name) packages;
  # The packages that do not lie in the workspace, each with its file or checkout as `path`.
  outside = located;
  # Their files, by "NAME VERSION SOURCE".
  files = builtins.listToAttrs (
    map (package: {
      name = "${package.name} ${package.version} ${package.source}";
      value = package.path;
    }) located
  );
}
