# images.toml checked and resolved by the `description` program: description.json.
{ cell, toolchain, tools }:
{
  # images.toml: a path.
  description,
  # The workspace's targets: a derivation with targets.json.
  targets,
}:
cell {
  name = "description";
  roots = [ toolchain ];
  program = "${tools}/bin/description";
  args = [
    "normalize"
    # By content, under the name that errors are to show.
    (builtins.path {
      name = "images.toml";
      path = description;
    })
    "--targets"
    "${targets}/targets.json"
    "--out"
    "${placeholder "out"}/description.json"
  ];
}
