# The images of a description. Their layers are lowered already (crates/description, `lower.rs`), so
# only store paths and facts of the plan are filled in.
{
  # ./make.nix, applied to its tools.
  make,
}:
{
  # The workspace: a path.
  root,
  # The description with everything resolved: description.json as a value.
  description,
  # Maps platforms (such as "linux/amd64") to { isNative, packagesOf, has, select, program, crates,
  # linked, partOf, inputsOf }: whether the platform's programs run on the machine that builds, the
  # packages (../debian/lock.nix) and binaries of the platform, the crates of a binary
  # (./crates.nix), the names of the packages that it is linked from, the paths of parts
  # (../part.nix), and the ingredients of an image (./inputs.nix).
  platforms,
}:
let
  nameOf = import ./platform-name.nix;
  providerOf =
    platform:
    platforms.${nameOf platform}
      or (throw (
        "images.toml wants the platform ${nameOf platform}; this version of Crateyard builds "
        + builtins.concatStringsSep ", " (builtins.attrNames platforms)
      ));

  # A base by its path in the workspace, or the image of it that a digest names.
  baseOf =
    { path, digest, ... }:
    let
      layout = builtins.path {
        name = "base";
        path = root + "/${path}";
      };
    in
    if digest == null then
      layout
    else
      make {
        name = "base-image";
        command = "base";
        spec = { inherit layout digest; };
      };

  isPackages = value: value.placeholder == "packages";

  # The layout of an image for one platform.
  layoutOf =
    image: platform:
    let
      provider = providerOf platform;
      other = name: layoutOf description.images.${name} platform;
      linked = builtins.concatMap provider.linked (import ./binaries.nix image);
      holds =
        set: !(set ? linkedFrom) || (builtins.elem set.linkedFrom linked && provider.has set.set);

      # The packages that a placeholder stands for: { file, entry } each.
      packagesOf =
        packages:
        let
          filesOf =
            set:
            if holds set then map (package: package.file) (provider.packagesOf set.set) else [ ];
          given = builtins.concatMap filesOf (packages.beyond or [ ]);
          own =
            if packages ? named then
              provider.select packages.set packages.named
            else if holds packages then
              provider.packagesOf packages.set
            else
              [ ];
        in
        builtins.filter (package: !(builtins.elem package.file given)) own;

      # Fills in a layer's sources; `below` are the layers below it.
      fillOver =
        below:
        import ./fill.nix {
          stand = stand // {
            below =
              _:
              if provider.isNative then
                map (layer: layer.path) below
              else
                throw (
                  "the image \"${image.name}\" has steps, and the machine that builds can't run "
                  + "programs of its platform ${nameOf platform}: drop the platform, or build it "
                  + "on a machine of its kind"
                );
          };
        };
      stand = {
        # By content, so that only the files in the layer decide its bytes.
        workspace =
          { path, ... }:
          builtins.path {
            name = "content";
            path = root + "/${path}";
          };
        base = baseOf;
        part = provider.partOf;
        program = binary: "${provider.program binary}/bin/${binary.bin}";
        crates = provider.crates;
        image = { name, ... }: other name;
        packages = packages: map (package: package.file) (packagesOf packages);
      };

      # The packages of a layer, as its sources name them.
      ownPackages =
        layer:
        builtins.concatMap (source: builtins.filter isPackages source.packages) (
          builtins.filter (source: source.kind == "debian") layer.sources
        );
      isThere =
        layer:
        !(layer.optional or false) || builtins.concatMap packagesOf (ownPackages layer) != [ ];
      layers = builtins.filter isThere image.layers;
      isFirm = layer: !(layer.onlyIfLinked or false);
      isStep = layer: builtins.any (source: source.kind == "step") layer.sources;
      layerOver =
        below: layer:
        let
          path = make (
            {
              name = "layer-${layer.name}";
              command = "layer";
              spec = {
                comment = layer.name;
                inherit (image) compression;
                forbidden = layer.forbidden or [ ];
                sources = fillOver below layer.sources;
              };
            }
            // (if isStep layer then { workplace = "/step"; } else { })
          );
        in
        {
          inherit path;
          replaces = layer.replaces or [ ];
        }
        // (if layer.mayOverride or false then { mayOverride = true; } else { })
        // (
          if isFirm layer then
            { }
          else
            {
              onlyIfLinked = true;
              # If the image takes the layer, it takes these packages.
              packages = map (package: package.entry // { role = "image"; }) (
                builtins.concatMap packagesOf (ownPackages layer)
              );
            }
        );
      base =
        if image.base.kind == "layout" then
          { base = baseOf { inherit (image.base) path; digest = image.base.digest or null; }; }
        else if image.base.kind == "reference" then
          throw (
            "the image \"${image.name}\" stands on ${image.base.reference}: pull it with "
            + "`assemble pull ${image.base.reference}@${image.base.digest} --out DIR`, "
            + "and name the directory as its base"
          )
        else
          { };
    in
    make {
      name = "${image.name}-image";
      command = "layout";
      spec = base // {
        inherit (image) name config references;
        inherit platform;
        layers = builtins.foldl' (below: layer: below ++ [ (layerOver below layer) ]) [ ] layers;
        inputs = provider.inputsOf {
          inherit image;
          sources = builtins.concatMap (layer: layer.sources) layers;
          packageSets = map (packages: packages.set) (
            builtins.concatMap ownPackages (builtins.filter isFirm layers)
          );
          layoutOf = other;
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
          inherit (image) name references;
          layouts = map (layoutOf image) image.platforms;
        };
      };
in
name: build (description.images.${name} or (throw "images.toml describes no image \"${name}\""))
