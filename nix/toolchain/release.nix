# The components of a release of the Rust project, as toolchain.lock pins them.
#
# Each is a root file system whose store path depends only on its files. `assemble fetch` can add it
# from the machine's rustup; otherwise Nix downloads the archive and unpacks it. If the lock has no
# hash of the files, the component comes from its archive.
{
  cell,
  # Root file systems with sh, tar and xz.
  tools,
}:
{
  # toolchain.lock: a path.
  lock,
  # The build platform, by rustc's name.
  host,
}:
let
  data = builtins.fromJSON (builtins.readFile lock);
  # The name of a nightly release contains its date.
  release =
    if builtins.match ".*-.*" data.release == null then
      data.release
    else
      "${data.release}-${data.date}";
  # The pin of a component for a platform: { platform, archive, sha256, files }. Some components are
  # the same for all platforms.
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
        toolchain.lock pins no component "${name}" of Rust ${release} for ${platform}:
        run `assemble lock`.
        It pins the targets and components of rust-toolchain.toml, and the platforms of images.toml.
      '';
  fetch =
    pin:
    import ../fetch.nix {
      name = builtins.baseNameOf pin.archive;
      # The Rust project's own server, not a mirror, because evaluation must not depend on the
      # machine.
      url = "https://static.rust-lang.org/${pin.archive}";
      hash = pin.sha256;
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
  # The entry of a component in a provenance.
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
  || throw (
    "toolchain.lock has format ${toString data.version}, and this version of Crateyard reads 1: "
    + "run `assemble lock`"
  );
{
  # The compiler's version, such as "1.95.0", and the requested channel.
  inherit (data) release channel;
  # Root file systems: cargo, rustc, and the standard libraries of the build platform and of the
  # lock's targets.
  roots = map (name: component name host) compiling ++ libraries component;
  # The standard library for a platform.
  std = component "rust-std";
  # Root file systems with clippy and rustfmt.
  lints = map (name: component name host) [
    "clippy"
    "rustfmt"
  ];
  # All components of the lock for the build platform, such as rust-analyzer.
  all =
    map (name: component name host) (
      builtins.filter (name: name != "rust-std") (builtins.attrNames data.components)
    )
    ++ libraries component;
  # The compiling components, for provenances.
  entries = map (name: entry name host) compiling ++ libraries entry;
}
