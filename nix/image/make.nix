# Derivations of the program `image`: a specification becomes a layer, an image, or an index over
# images.
{
  cell,
  # A root file system without files: the program needs none.
  bare,
  # The program `image`: a file.
  imageProgram,
}:
{
  # The derivation's name.
  name,
  # "layer" for a layer (a directory with `blob` and `layer.json`), "layout" for an image, "index"
  # for an index over images, "base" for one image of a layout (OCI layouts).
  command,
  # The specification without its version (crates/image: `spec::LayerSpec`, `spec::ImageSpec`,
  # `spec::IndexSpec`, `spec::BaseSpec`).
  spec,
  # A place in memory for the files over which a layer's step runs; null without a step.
  workplace ? null,
}:
cell {
  inherit name;
  roots = [ bare ];
  program = imageProgram;
  args = [
    command
    "@spec"
    "--out"
    (placeholder "out")
  ]
  ++ (
    if workplace == null then
      [ ]
    else
      [
        "--workplace"
        workplace
      ]
  );
  memory = if workplace == null then [ ] else [ workplace ];
  attributes = {
    spec = builtins.toJSON (spec // { version = 1; });
    passAsFile = [ "spec" ];
  };
}
