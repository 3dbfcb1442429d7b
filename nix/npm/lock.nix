# A package-lock.json as Nix values: the packages that `npm ci` installs on one platform, each as a
# file in the store. Refuses, by name, a package that npm would fetch with git or without a hash.
# https://docs.npmjs.com/cli/configuring-npm/package-lock-json
{
  # The directory with package.json and package-lock.json: its path, and its name in messages.
  directory,
  shown,
  # Packages whose install scripts run, and packages whose scripts do not.
  scripts,
  ignoredScripts,
  # npm's names of the platform: "linux" and "x64".
  os,
  cpu,
  # Whether packages for development are installed too.
  dev,
}:
let
  place = "${shown}/package-lock.json";
  data = builtins.fromJSON (builtins.readFile (directory + "/package-lock.json"));
  packages = data.packages or (throw ''
    ${place} has lockfileVersion ${toString (data.lockfileVersion or 1)}, which does not say where
    packages go. Make it anew with: npm install --package-lock-only --lockfile-version 3'');
  tarball = import ./tarball.nix;

  # npm's lists name the platforms that fit or, with `!`, those that do not.
  fitsList =
    wanted: here:
    let
      excluded = builtins.filter (word: builtins.substring 0 1 word == "!") wanted;
      included = builtins.filter (word: builtins.substring 0 1 word != "!") wanted;
    in
    !(builtins.elem "!${here}" excluded)
    && (included == [ ] || builtins.elem here included || builtins.elem "any" included);
  asList = value: if builtins.isList value then value else [ value ];
  fits = entry: fitsList (asList (entry.os or [ ])) os && fitsList (asList (entry.cpu or [ ])) cpu;
  # Directories of the workspace and links to them exist already, and a bundled package is inside
  # the package that bundles it.
  isFetched =
    path:
    let
      entry = packages.${path};
    in
    path != ""
    && builtins.match "(.*/)?node_modules/[^/]+(/[^/]+)?" path != null
    && !(entry.link or false)
    && !(entry.inBundle or false)
    && (dev || !(entry.dev or false))
    && (fits entry || !(entry.optional or false));
  # `node_modules/a/node_modules/@b/c` is the package @b/c, unless the lock gives another name.
  nameOf =
    path:
    let
      parts = builtins.match "(.*/)?node_modules/(@[^/]+/[^/]+|[^/@][^/]*)" path;
    in
    packages.${path}.name or (builtins.elemAt parts 1);
  refuse = path: reason: throw "${place}: packages.\"${path}\": ${reason}";
  # With `omit-lockfile-registry-resolved`, npm leaves out the address: it is the registry's own.
  addressOf =
    path:
    let
      entry = packages.${path};
      name = nameOf path;
      base = builtins.elemAt (builtins.match "(@[^/]+/)?(.*)" name) 1;
    in
    entry.resolved or "https://registry.npmjs.org/${name}/-/${base}-${entry.version}.tgz";
  # The strongest of the hashes, which are separated by spaces.
  hashOf =
    path:
    let
      all = builtins.filter builtins.isString (
        builtins.split " " (packages.${path}.integrity or "")
      );
      isOf = kind: hash: builtins.match "${kind}-[A-Za-z0-9+/]+=*" hash != null;
      ofKind = kind: builtins.filter (isOf kind) all;
      best = ofKind "sha512" ++ ofKind "sha256" ++ ofKind "sha1";
    in
    if best == [ ] then
      refuse path (
        "`${nameOf path}` has no `integrity`, so nothing says which bytes it has. "
        + "Make the lock anew: npm install --package-lock-only"
      )
    else
      builtins.head best;
  isFile = path: builtins.match "file:.*" (packages.${path}.resolved or "") != null;
  entryOf =
    path:
    let
      entry = packages.${path};
      url = addressOf path;
    in
    if builtins.match "https?://.*" url == null then
      refuse path (
        "`${nameOf path}` comes from ${url}. Only packages of registries and files of the "
        + "workspace can be installed: publish it, or depend on a release"
      )
    else
      {
        inherit path url;
        name = nameOf path;
        inherit (entry) version;
        integrity = hashOf path;
        license = if builtins.isString (entry.license or null) then entry.license else "";
        dev = entry.dev or false;
        file = tarball {
          name = nameOf path;
          inherit (entry) version;
          inherit url;
          integrity = hashOf path;
        };
      };
  paths = builtins.attrNames packages;
  fetched = map entryOf (builtins.filter (path: isFetched path && !(isFile path)) paths);

  # Install scripts run only if the description allows them, and no package with such a script goes
  # unnoticed.
  hasScript = path: isFetched path && (packages.${path}.hasInstallScript or false);
  withScripts = builtins.filter hasScript (builtins.attrNames packages);
  undecided = builtins.filter (name: !(builtins.elem name (scripts ++ ignoredScripts))) (
    map nameOf withScripts
  );
  unique = import ../unique.nix;
  unknown = builtins.filter (name: !(builtins.elem name (map nameOf withScripts))) scripts;
  quoted = names: builtins.concatStringsSep ", " (map (name: "\"${name}\"") names);
in
if undecided != [ ] then
  throw ''
    ${place}: an install script of ${quoted (unique undecided)} would run,
    and nobody said whether it may.
    Add to the part: scripts = [${quoted (unique (scripts ++ undecided))}]
    or, if they do without: ignored-scripts = [${quoted (unique (ignoredScripts ++ undecided))}]''
else if unknown != [ ] then
  throw (
    "${place} has no package called ${quoted unknown} with an install script: "
    + "drop it from `scripts`"
  )
else
  fetched
