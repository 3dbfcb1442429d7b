# What the `image` program makes of a specification: a layer, an image, an index over images.
{
  cell,
  # A root file system with what the program needs to run.
  runtime,
  # The derivation with bin/image.
  imageProgram,
}:
{
  # The derivation's name.
  name,
  # "layer" for a layer (a directory with `blob` and `layer.json`), "assemble" for an image and "index"
  # for an index over images (OCI layouts).
  command,
  # The specification without its version (crates/image: `spec::LayerSpec`, `spec::ImageSpec`,
  # `spec::IndexSpec`).
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
