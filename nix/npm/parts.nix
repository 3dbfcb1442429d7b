# The parts of an images.toml that npm makes: [parts.NAME] with `npm`.
{
  # The workspace: a path.
  src,
  # [parts] of images.toml: name to fields.
  described,
  # What the system is called elsewhere: ../systems.nix.
  host,
  # ../seed/cell.nix and ../debian/root-file-system.nix.
  cell,
  rootFileSystem,
  # The .deb files of the set "npm".
  packages,
}:
let
  cpus = {
    amd64 = "x64";
    i386 = "ia32";
    armhf = "arm";
    ppc64el = "ppc64";
  };
  partOf = import ./part.nix {
    inherit cell;
    root = rootFileSystem {
      name = "npm";
      inherit packages;
      symlinks."usr/bin/sh" = "dash";
      exclude = [
        "usr/include/"
        "usr/share/doc/"
        "usr/share/locale/"
        "usr/share/man/"
      ];
    };
    platform = {
      os = "linux";
      cpu = cpus.${host.architecture} or host.architecture;
    };
  };
  made = builtins.mapAttrs (name: fields: partOf name (fields // { inherit src; })) (
    import ../select.nix (part: part ? npm) described
  );
in
{
  # Name to derivation.
  parts = builtins.mapAttrs (_: part: part.derivation) made;
  # Name to the directory of its lock, relative to the workspace, and to the files that it pins:
  # { directory, dev, packages = [ { name, version, integrity, file } ] }.
  lists = builtins.mapAttrs (_: part: part.list) made;
  # Name to what a bill of materials says of it: { isBuilt, packages = [ { name, version, url,
  # integrity, license, dev } ] }.
  contents = builtins.mapAttrs (_: part: part.contents) made;
}
