# The parts of an images.toml that npm makes: [parts.NAME] with `npm`.
{
  # The workspace: a path.
  src,
  # [parts] of images.toml: maps names to fields.
  described,
  # The other names of the system: ../systems.nix.
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
  # Maps names to derivations.
  parts = builtins.mapAttrs (_: part: part.derivation) made;
  # Maps names to the directory of the part's lock, relative to the workspace, and to the files that
  # the lock pins: { directory, dev, packages = [ { name, version, integrity, file } ] }.
  lists = builtins.mapAttrs (_: part: part.list) made;
  # Maps names to entries for a bill of materials: { isBuilt, packages = [ { name, version, url,
  # integrity, license, dev } ] }.
  contents = builtins.mapAttrs (_: part: part.contents) made;
}
