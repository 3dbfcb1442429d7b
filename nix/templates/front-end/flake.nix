{
  description = "Container images of this workspace";

  inputs.crateyard.url = "github:crateyard/crateyard";

  outputs =
    { self, crateyard }:
    crateyard.lib.mkFlake {
      inherit self;
      src = ./.;
      # The front end: a path, or a derivation that builds one.
      parts.web = ./web/public;
    };
}
