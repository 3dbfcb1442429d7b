# An image of one platform, or an index over several: a derivation that is an OCI layout.
{
  cell,
  runtime,
  imageProgram,
}:
{
  # The derivation's name.
  name,
  # "assemble" for an image, "index" for an index over images.
  command,
  # The specification without its version (crates/image, `spec::ImageSpec`, `spec::IndexSpec`).
  spec,
}:
cell {
  inherit name;
  roots = [ runtime ];
  program = "${imageProgram}/bin/image";
  args = [
    command
    "@spec"
    "--out"
    (placeholder "out")
  ];
  attributes = {
    spec = builtins.toJSON (spec // { version = 1; });
    passAsFile = [ "spec" ];
  };
}
