# Cargo.lock as Nix values.
{
  # The lock: a path.
  lock,
}:
let
  data = builtins.fromTOML (builtins.readFile lock);
  packages = data.package or [ ];
  outside = builtins.filter (package: package ? source) packages;
  # Locks of version 1 and 2 have the checksums of packages in `metadata`. A package from git has
  # none.
  checksumOf =
    package:
    let
      key = "checksum ${package.name} ${package.version} (${package.source})";
      old = data.metadata.${key} or "<none>";
    in
    package.checksum or (if old == "<none>" then null else old);
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
  # Each commit is fetched once, for all its packages.
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
  # The names of the packages in the workspace: its members, and their `path` dependencies. Cargo
  # wrote them into the lock, so Nix need not read manifests.
  own = builtins.attrNames (
    builtins.listToAttrs (
      map (package: {
        inherit (package) name;
        value = true;
      }) (builtins.filter (package: !(package ? source)) packages)
    )
  );
  # Maps each name to its packages.
  named = builtins.groupBy (package: package.name) packages;
  # The packages outside the workspace, each with its file or checkout as `path`.
  outside = located;
  # Their files, by "NAME VERSION SOURCE".
  files = builtins.listToAttrs (
    map (package: {
      name = "${package.name} ${package.version} ${package.source}";
      value = package.path;
    }) located
  );
}
