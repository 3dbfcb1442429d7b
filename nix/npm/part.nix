# A part made by npm: the packages that `npm ci` installs from a package-lock.json, or the output of
# a command that then builds with them. It runs in a cell without a network, with Debian's nodejs
# and npm.
{
  # ../seed/cell.nix.
  cell,
  # The root file system with nodejs, npm and a shell.
  root,
  # npm's names of the platform: { os, cpu }.
  platform,
}:
# The part's name. Gives { derivation, list, contents }: the part, the packages that npm installs
# for it, and the same packages for the bill of materials.
name:
{
  # The workspace: a path.
  src,
  # The directory of package.json and package-lock.json in the workspace; "" for the workspace
  # itself.
  npm,
  # The command that builds, and its output in the directory: a path. Without a command, the part is
  # the directory `node_modules`, in a directory.
  build ? null,
  output ? null,
  # Packages whose install scripts run, and those whose scripts do not.
  scripts ? [ ],
  ignored-scripts ? [ ],
  # Whether packages for development are installed too. They serve to build, not to run.
  dev ? build != null,
  ...
}:
let
  directory = if npm == "" || npm == "." then src else src + "/${npm}";
  packages = import ./lock.nix {
    inherit directory scripts dev;
    shown = npm;
    ignoredScripts = ignored-scripts;
    inherit (platform) os cpu;
  };
  relative = import ../cargo/relative.nix { inherit directory; };
  # Leaves out the results of earlier installations and builds on this machine.
  source = builtins.path {
    name = "npm-source";
    path = directory;
    filter =
      full: _:
      let
        inner = relative full;
        last = builtins.baseNameOf inner;
      in
      last != "node_modules"
      && last != ".git"
      && last != ".npmrc"
      && (build == null || inner != output);
  };
in
if !(builtins.pathExists (directory + "/package-lock.json")) then
  throw (
    "[parts.${name}]: there is no ${npm}/package-lock.json: "
    + "`npm install --package-lock-only` makes one, and git must track it"
  )
else
  {
    list = {
      directory = npm;
      inherit dev;
      packages = map (package: {
        inherit (package) name version integrity;
        file = builtins.unsafeDiscardStringContext "${package.file}";
      }) packages;
    };
    contents = {
      isBuilt = build != null;
      packages = map (package: {
        inherit (package)
          name
          version
          url
          integrity
          license
          dev
          ;
      }) packages;
    };
    derivation = cell {
      name = "part-${name}";
      roots = [ root ];
      writable = [ "/tmp" ];
      program = "/usr/bin/node";
      args = [
        "${./install.js}"
      ];
      attributes = {
        settings = builtins.toJSON {
          inherit source scripts dev build output;
          out = placeholder "out";
          packages = map (package: {
            inherit (package)
              path
              name
              url
              integrity
              ;
            file = "${package.file}";
          }) packages;
        };
        passAsFile = [ "settings" ];
      };
    };
  }
