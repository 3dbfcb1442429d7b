# The programs that an image's layers hold: placeholders { package, bin, call, ... }
# (crates/description, `lower.rs`).
image:
map (source: source.from) (
  builtins.filter (source: source.kind == "file" && source.from.placeholder == "program") (
    builtins.concatMap (layer: layer.sources) image.layers
  )
)
