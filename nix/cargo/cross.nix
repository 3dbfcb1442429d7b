# What compiles for another platform than the one that builds: a root file system beside the toolchain, and what Cargo
# must be told.
{
  # The platform, as rustc names it.
  rust,
  # What the names of GNU's compilers for it begin with.
  gnu,
  # Root file systems with Rust's standard library for it and those compilers.
  roots,
}:
{
  inherit roots;
  # Units for the platform name it in their arguments or, where they run a build script, in TARGET.
  # All others are for the machine that builds, and the same derivations as in a native build.
  concerns =
    unit:
    builtins.elem "--target" (unit.action.args or [ ]) && builtins.elem rust unit.action.args
    || (unit.env.TARGET or "") == rust;
  cargoArgs = [
    "--config"
    "target.${rust}.linker='${gnu}-gcc'"
  ];
}
