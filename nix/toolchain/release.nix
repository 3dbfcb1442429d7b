# The components of a release of the Rust project, as toolchain.lock pins them.
#
# Each is a root file system of its own, and its path in the store depends on its files alone: `assemble fetch` puts it
# there from the machine's rustup, and only where that has not happened Nix downloads the archive and unpacks it. Where
# the lock has no hash of the files, the component comes from its archive.
{
  cell,
  # Root file systems with sh, tar and xz.
  tools,
}:
{
  # toolchain.lock: a path.
  lock,
  # The platform that builds, as rustc names it.
  host,
}:
let
  data = builtins.fromJSON (builtins.readFile lock);
  # A night's build has its date in its name.
  release =
    if builtins.match ".*-.*" data.release == null then
      data.release
    else
      "${data.release}-${data.date}";
  # What pins a component for a platform: { platform, archive, sha256, files }. Some are the same for all platforms.
  pinOf =
    name: platform:
    let
      pins = data.components.${name} or { };
    in
    if pins ? ${platform} then
      pins.${platform} // { inherit platform; }
    else if pins ? "*" then
      pins."*" // { platform = null; }
    else
      throw ''
        toolchain.lock pins no component "${name}" of Rust ${release} for ${platform}: run `assemble lock`.
        It pins the targets and components of rust-toolchain.toml, and the platforms of images.toml.
      '';
  fetch =
    pin:
    derivation {
      name = builtins.baseNameOf pin.archive;
      system = "builtin";
      builder = "builtin:fetchurl";
      # The Rust project's own server, and no mirror: what is evaluated depends on nothing of the machine.
      url = "https://static.rust-lang.org/${pin.archive}";
      outputHashMode = "flat";
      outputHashAlgo = "sha256";
      outputHash = pin.sha256;
      preferLocalBuild = true;
    };
  component =
    name: platform:
    let
      pin = pinOf name platform;
    in
    cell {
      name = "${name}-${release}${if pin.platform == null then "" else "-${pin.platform}"}";
      roots = tools;
      program = "/usr/bin/sh";
      args = [ "${./component.sh}" ];
      attributes = {
        archive = fetch pin;
      }
      // (
        if pin ? files then
          {
            outputHashMode = "recursive";
            outputHashAlgo = "sha256";
            outputHash = pin.files;
          }
        else
          { }
      );
    };
  # What a provenance says of a component.
  entry =
    name: platform:
    let
      pin = pinOf name platform;
    in
    {
      inherit name;
      inherit (data) release;
      platform = if pin.platform == null then "" else pin.platform;
      inherit (pin) archive sha256;
    };
  compiling = [
    "cargo"
    "rustc"
  ];
  libraries = of: map (of "rust-std") ([ host ] ++ (data.targets or [ ]));
in
assert
  data.version == 1
  || throw "toolchain.lock has format ${toString data.version}, this version of Crateyard reads 1: run `assemble lock`";
{
  # The compiler's version, such as "1.95.0", and the channel that was asked for.
  inherit (data) release channel;
  # Root file systems: cargo, rustc, the standard libraries of the platform that builds and of the lock's targets.
  roots = map (name: component name host) compiling ++ libraries component;
  # The standard library for a platform.
  std = component "rust-std";
  # Root file systems with clippy and rustfmt.
  lints = map (name: component name host) [
    "clippy"
    "rustfmt"
  ];
  # All that the lock has for the platform that builds, such as rust-analyzer.
  all =
    map (name: component name host) (
      builtins.filter (name: name != "rust-std") (builtins.attrNames data.components)
    )
    ++ libraries component;
  # What compiles, for provenances.
  entries = map (name: entry name host) compiling ++ libraries entry;
}
