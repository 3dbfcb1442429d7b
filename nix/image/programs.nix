# The programs of images, each by itself.
#
# Gives: maps images to "PACKAGE/BIN", these to platforms such as "linux/amd64", and these to the
# output that holds bin/BIN.
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
