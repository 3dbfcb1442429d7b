# One entry of a described layer as a source of a layer's specification.
{
  # The workspace: a path.
  root,
  # An entry with a binary to the output that holds bin/NAME.
  program,
  # An entry with a binary to the crates that it carries a list of (./crates.nix), or null for no list.
  crates,
  # Name of an image to its layout.
  image,
}:
entry:
let
  owned = {
    to = entry.path;
    inherit (entry) uid gid;
  };
  common = owned // (if entry ? mode then { inherit (entry) mode; } else { });
  # By content: only what the layer holds decides about it.
  stored =
    source:
    builtins.path {
      name = "content";
      path = root + "/${source}";
    };
  isDirectory =
    source:
    let
      parent = builtins.readDir (root + "/${builtins.dirOf source}");
    in
    parent.${builtins.baseNameOf source} or "" == "directory";
  kinds = {
    source =
      if isDirectory entry.source then
        owned
        // {
          kind = "tree";
          from = stored entry.source;
        }
      else
        common
        // {
          kind = "file";
          from = stored entry.source;
        };
    text = common // {
      kind = "text";
      inherit (entry) text;
    };
    directory = common // {
      kind = "directory";
    };
    symlink = {
      kind = "symlink";
      to = entry.path;
      inherit (entry) target;
    };
    binary = common // {
      kind = "file";
      from = "${program entry}/bin/${entry.bin}";
    }
    // (if crates == null then { } else { crates = crates entry; });
    chart = {
      kind = "chart";
      to = entry.path;
      from = stored entry.source;
    };
    image = {
      kind = "image-archive";
      to = entry.path;
      from = image entry.image;
      inherit (entry) format reference;
    };
  };
in
kinds.${entry.type} or (throw "the description has an entry of the unknown type \"${entry.type}\"")
