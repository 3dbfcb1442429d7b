# A root file system that gives another linker the names that compilers call. It comes before the
# other root file systems.
{
  rootFileSystem,
  # The build platform, by rustc's name.
  rust,
}:
{
  # "lld" or "mold".
  linker,
  # Its .deb files.
  packages,
}:
let
  program = "/usr/bin/${if linker == "lld" then "ld.lld" else linker}";
in
rootFileSystem {
  name = "linker-${linker}";
  inherit packages;
  symlinks = {
    # The name that gcc calls by default.
    "usr/bin/ld" = program;
    # The name that gcc calls for a release with its own lld.
    "usr/lib/rustlib/${rust}/bin/gcc-ld/ld.lld" = program;
  };
}
