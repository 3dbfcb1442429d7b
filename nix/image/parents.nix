# The images that the Docker way starts from. They hold the packages that units and images are made
# of.
{
  # ./make.nix, applied to its tools.
  make,
}:
{
  # { packagesOf, ... }: ../debian/lock.nix
  debian,
  # Debian's name of the architecture.
  architecture,
  # Root file systems of the release's components. Without them, Debian's compiler is used.
  components,
}:
let
  compression = {
    algorithm = "zstd";
    level = 3;
  };
  isUsed = package: components == [ ] || !(import ../debian/is-rust.nix package);
  packages = set: [
    {
      kind = "debian";
      packages = builtins.filter isUsed (debian.packagesOf set);
      exclude = import ./unneeded.nix;
    }
  ];
  certificates = set: {
    kind = "ca-certificates";
    packages = debian.packagesOf set;
  };
  tree = component: {
    kind = "tree";
    from = "${component}/usr";
    to = "/usr";
  };
  links = builtins.attrValues (
    builtins.mapAttrs (path: target: {
      kind = "symlink";
      to = "/${path}";
      inherit target;
    }) (import ../debian/alternatives.nix)
  );
  parent =
    name: sources:
    make {
      name = "${name}-image";
      command = "layout";
      spec = {
        inherit name;
        references = [ "${name}:latest" ];
        platform = {
          os = "linux";
          inherit architecture;
        };
        layers = [
          (make {
            name = "layer-${name}";
            command = "layer";
            spec = {
              comment = name;
              inherit compression sources;
            };
          })
        ];
        config.env = [
          {
            name = "PATH";
            value = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
          }
        ];
      };
    };
in
{
  # Cargo, rustc, C and C++ compilers, a shell.
  builder = parent "builder" (packages "toolchain" ++ links ++ map tree components);
  # The base of images.
  base = parent "base" (packages "base" ++ [ (certificates "base") ]);
}
