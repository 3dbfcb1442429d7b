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
  # Platform (such as "linux/amd64") to { packagesOf, program, crates, libraries, compilerLibraries, inputsOf }: where packages
  # and binaries of that platform come from, the crates of a binary (./crates.nix), the sets with the libraries that a binary is linked to, the packages with libraries
  # of the compiler (../debian/lock.nix, `select`), and what all is made of (./inputs.nix).
  platforms,
}:
let
  nameOf = platform: "${platform.os}/${platform.architecture}" + (if platform ? variant then "/${platform.variant}" else "");
  providerOf =
    platform:
    platforms.${nameOf platform}
      or (throw "images.toml wants the platform ${nameOf platform}; this version of Crateyard builds ${builtins.concatStringsSep ", " (builtins.attrNames platforms)}");

  isPackages = item: item.kind == "packages";
  # Nothing is below a set that goes beyond none.
  isBase = item: description.debian.sets ? ${item.set} && (description.debian.sets.${item.set}.beyond or null) == null;
  packagesBelow =
    image: item: provider:
    let
      others = builtins.filter (other: isPackages other && other.name != item.name) image.layers;
      byLayer = packagesByLayer image.layers provider;
    in
    if isBase item then
      [ ]
    else
      builtins.concatMap (other: byLayer.${other.name}) others;

  # Name of each layer with packages to these. What several sets have, as libraries of two crates may, the
  # first of them gives.
  packagesByLayer =
    layers: provider:
    let
      step =
        { given, byLayer }:
        item:
        let
          own = builtins.filter (package: !(builtins.elem package given)) (provider.packagesOf item.set);
        in
        {
          given = given ++ own;
          byLayer = byLayer // {
            ${item.name} = own;
          };
        };
    in
    (builtins.foldl' step {
      given = [ ];
      byLayer = { };
    } (builtins.filter isPackages layers)).byLayer;

  packagesSource = packages: alsoInstalled: {
    kind = "debian";
    inherit packages alsoInstalled;
    exclude = import ./unneeded.nix;
  };
  packagesSpec =
    image: provider: item:
    let
      packages = (packagesByLayer image.layers provider).${item.name};
    in
    [ (packagesSource packages (packagesBelow image item provider)) ]
    ++ (
      if isBase item then
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
        crates = if description.build.crateList or true then provider.crates else null;
        image = name: layoutOf description.images.${name} platform;
      };
    in
    makeLayer image {
      inherit (item) name;
      # Where a path of the store shows, something of the machine that built it got in.
      forbidden = if isPackages item then [ ] else [ "/nix/store/" ];
      sources = if isPackages item then packagesSpec image provider item else map entry item.entries;
    };
  # A layer, and what of it takes the place of files of the base.
  replacing =
    image: platform: item:
    let
      replaces = map (entry: entry.path) (builtins.filter (entry: entry.replace or false) item.entries);
      path = layerOf image platform item;
    in
    if replaces == [ ] then path else { inherit path replaces; };
  makeLayer =
    image:
    {
      name,
      forbidden ? [ ],
      sources,
    }:
    make {
      name = "layer-${name}";
      command = "layer";
      spec = {
        comment = name;
        inherit (image) compression;
        inherit forbidden sources;
      };
    };

  binariesOf =
    image:
    builtins.filter (entry: entry.type == "binary") (
      builtins.concatMap (item: item.entries or [ ]) image.layers
    );

  # The described layers, and above those with packages the libraries that the binaries need, a layer for
  # each crate that binds some. Over somebody else's base there is no telling which are there.
  layersOf =
    image: platform:
    let
      provider = providerOf platform;
      sets = builtins.concatMap provider.libraries (binariesOf image);
      packages = builtins.filter isPackages image.layers;
      libraries = map (set: {
        name = set;
        kind = "packages";
        inherit set;
      }) (import ../unique.nix sets);
      byLayer = packagesByLayer (packages ++ libraries) provider;
      needed = builtins.filter (item: byLayer.${item.name} != [ ]) libraries;
    in
    if packages == [ ] then
      image.layers
    else
      packages ++ needed ++ builtins.filter (item: !(isPackages item)) image.layers;

  # The layer with the compiler's libraries that no other layer has. Whether a program is linked to one of them shows when it
  # is linked, so the image is given the layer in any case, and takes it where one of its programs is.
  compilerLayers =
    image: platform:
    let
      provider = providerOf platform;
      given = builtins.concatLists (builtins.attrValues (packagesByLayer image.layers provider));
      isMissing = package: !(builtins.elem package.file given);
      missing = builtins.filter isMissing provider.compilerLibraries;
      layer = makeLayer image {
        name = "libraries.compiler";
        sources = [ (packagesSource (map (package: package.file) missing) given) ];
      };
    in
    # Without packages an image stands on somebody else's base, or is to be copied from.
    if given == [ ] || missing == [ ] || binariesOf image == [ ] then
      [ ]
    else
      [
        {
          path = layer;
          onlyIfLinked = true;
          packages = map (package: package.entry // { role = "image"; }) missing;
        }
      ];

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
    let
      whole = image // {
        layers = layersOf image platform;
      };
    in
    make {
      name = "${image.name}-image";
      command = "assemble";
      spec = baseOf image // {
        inherit (image) name config;
        references = map (tag: "${image.name}:${tag}") image.tags;
        inherit platform;
        layers =
          map (layerOf whole platform) (builtins.filter isPackages whole.layers)
          ++ compilerLayers whole platform
          ++ map (replacing whole platform) (builtins.filter (item: !(isPackages item)) whole.layers);
        inputs = (providerOf platform).inputsOf {
          image = whole;
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
