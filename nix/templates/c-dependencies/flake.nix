{
  description = "Container images of this workspace";

  inputs.crateyard.url = "github:crateyard/crateyard";

  outputs = { self, crateyard }: crateyard.lib.mkFlake { inherit self; src = ./.; };
}
