# One layer: a derivation with `blob` and `layer.json`, written by the `image` program.
{
  cell,
  # A root file system with what the program needs to run.
  runtime,
  # The derivation with bin/image.
  imageProgram,
}:
{
  # What the layer is, such as "base".
  name,
  # The layer's specification without its version (crates/image, `spec::LayerSpec`).
  spec,
}:
cell {
  name = "layer-${name}";
  roots = [ runtime ];
  program = "${imageProgram}/bin/image";
  args = [
    "layer"
    "@spec"
    "--out"
    (placeholder "out")
  ];
  attributes = {
    spec = builtins.toJSON (spec // { version = 1; });
    passAsFile = [ "spec" ];
  };
}
