# The compiler of nixpkgs. It brings its own C library for itself; programs are linked against Debian's.
{
  # A directory of links: ../parts.nix.
  links,
}:
{
  # The packages of nixpkgs for the system that builds: `nixpkgs.legacyPackages.SYSTEM`.
  packages,
}:
let
  # The compiler itself: the wrapper around it would set a linker and flags of its own.
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
  # Root file systems, as ./release.nix has them.
  roots = [ root ];
  lints = [ ];
  entries = [ ];
  std = target: throw "nixpkgs' compiler comes without a standard library for ${target}";
}
