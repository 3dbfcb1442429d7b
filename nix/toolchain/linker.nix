# A root file system in which another linker has the names under which the compilers call theirs: it goes before the others.
{
  rootFileSystem,
  # The platform that builds, as rustc names it.
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
    # What gcc calls by itself.
    "usr/bin/ld" = program;
    # What gcc calls for a release whose default is its own lld.
    "usr/lib/rustlib/${rust}/bin/gcc-ld/ld.lld" = program;
  };
}
