# The images of a description.
{
  # ./make.nix, applied to its tools.
  make,
}:
{
  # The workspace: a path.
  root,
  # The description with everything resolved: description.json as a value.
  description,
  # Platform (such as "linux/amd64") to { packagesOf, program, inputsOf }: where packages and
  # binaries of that platform come from, and what they are made of (./inputs.nix).
  platforms,
}:
let
  nameOf = platform: "${platform.os}/${platform.architecture}" + (if platform ? variant then "/${platform.variant}" else "");
  providerOf =
    platform:
    platforms.${nameOf platform}
      or (throw "images.toml wants the platform ${nameOf platform}; this version of Crateyard builds ${builtins.concatStringsSep ", " (builtins.attrNames platforms)}");

  isPackages = item: item.kind == "packages";
  packagesBelow =
    image: item: provider:
    let
      others = builtins.filter (other: isPackages other && other.name != item.name) image.layers;
    in
    if (description.debian.sets.${item.set}.beyond or null) == null then
      [ ]
    else
      builtins.concatMap (other: provider.packagesOf other.set) others;

  packagesSpec =
    image: provider: item:
    let
      packages = provider.packagesOf item.set;
    in
    [
      {
        kind = "debian";
        inherit packages;
        exclude = import ./unneeded.nix;
        alsoInstalled = packagesBelow image item provider;
      }
    ]
    ++ (
      if (description.debian.sets.${item.set}.beyond or null) == null then
        [
          {
            kind = "ca-certificates";
            inherit packages;
            to = "/etc/ssl/certs/ca-certificates.crt";
          }
        ]
      else
        [ ]
    );

  layerOf =
    image: platform: item:
    let
      provider = providerOf platform;
      entry = import ./entry.nix {
        inherit root;
        inherit (provider) program;
        image = name: layoutOf description.images.${name} platform;
      };
    in
    make {
      name = "layer-${item.name}";
      command = "layer";
      spec = {
        comment = item.name;
        inherit (image) compression;
        # Where a path of the store shows, something of the machine that built it got in.
        forbidden = if isPackages item then [ ] else [ "/nix/store/" ];
        sources = if isPackages item then packagesSpec image provider item else map entry item.entries;
      };
    };

  baseOf =
    image:
    if image.base.kind == "layout" then
      { base = builtins.path { name = "base"; path = root + "/${image.base.path}"; }; }
    else if image.base.kind == "reference" then
      throw "the image \"${image.name}\" stands on ${image.base.reference}: pull it with `assemble pull ${image.base.reference}@${image.base.digest} --out DIR` and name the directory as its base"
    else
      { };

  # The layout of an image for one platform.
  layoutOf =
    image: platform:
    make {
      name = "${image.name}-image";
      command = "assemble";
      spec = baseOf image // {
        inherit (image) name config;
        references = map (tag: "${image.name}:${tag}") image.tags;
        inherit platform;
        layers = map (layerOf image platform) image.layers;
        inputs = (providerOf platform).inputsOf {
          inherit image;
          layoutOf = name: layoutOf description.images.${name} platform;
        };
      };
    };

  build =
    image:
    if builtins.length image.platforms == 1 then
      layoutOf image (builtins.head image.platforms)
    else
      make {
        name = "${image.name}-image";
        command = "index";
        spec = {
          inherit (image) name;
          references = map (tag: "${image.name}:${tag}") image.tags;
          layouts = map (layoutOf image) image.platforms;
        };
      };
in
name: build (description.images.${name} or (throw "images.toml describes no image \"${name}\""))
