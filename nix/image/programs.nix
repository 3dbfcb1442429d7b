# The programs of images, each for itself.
#
# Gives: image to "PACKAGE/BIN" to platform, such as "linux/amd64", to the output that holds
# bin/BIN.
{
  # The description with everything resolved: description.json as a value.
  description,
  # ./images.nix, `platforms`.
  platforms,
}:
let
  nameOf = import ./platform-name.nix;
  programsOf =
    image:
    builtins.listToAttrs (
      map (entry: {
        name = "${entry.package}/${entry.bin}";
        value = builtins.listToAttrs (
          map (platform: {
            name = nameOf platform;
            value = platforms.${nameOf platform}.program entry;
          }) image.platforms
        );
      }) (import ./binaries.nix image)
    );
in
builtins.mapAttrs (_: programsOf) description.images
