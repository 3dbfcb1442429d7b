# Compiles for a platform other than the build platform: root file systems in addition to the
# toolchain, and settings for Cargo.
{
  # The platform, by rustc's name.
  rust,
  # The prefix of GNU's compilers for it.
  gnu,
  # Root file systems with Rust's standard library for it and those compilers.
  roots,
}:
{
  inherit roots;
  # Units for the platform name it in their arguments, or in TARGET if they run a build script. All
  # other units are for the build machine, and have the derivations of a native build.
  concerns =
    unit:
    builtins.elem "--target" (unit.action.args or [ ]) && builtins.elem rust unit.action.args
    || (unit.env.TARGET or "") == rust;
  cargoArgs = [
    "--config"
    "target.${rust}.linker='${gnu}-gcc'"
  ];
}
