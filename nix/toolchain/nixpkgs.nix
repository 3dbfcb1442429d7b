# The compiler of nixpkgs. It runs with its own C library, but links programs against Debian's.
{
  # A directory of links: ../foundation.nix.
  links,
}:
{
  # The packages of nixpkgs for the build system: `nixpkgs.legacyPackages.SYSTEM`.
  packages,
}:
let
  # The unwrapped compiler, because the wrapper would set its own linker and flags.
  rustc = packages.rustc.unwrapped or packages.rustc;
  programs = {
    inherit (packages) cargo;
    inherit rustc;
    rustdoc = rustc;
    clippy-driver = packages.clippy;
    inherit (packages) rustfmt;
  };
  root = links {
    name = "rust-nixpkgs";
    entries = builtins.listToAttrs (
      map (program: {
        name = "usr/bin/${program}";
        value = "${programs.${program}}/bin/${program}";
      }) (builtins.attrNames programs)
    );
  };
in
{
  # Root file systems, as in ./release.nix.
  roots = [ root ];
  lints = [ ];
  entries = [ ];
  std = target: throw "nixpkgs' compiler comes without a standard library for ${target}";
}
