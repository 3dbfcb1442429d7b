# The default toolchain: Debian's Rust and C compilers, and the programs that build scripts call.
{ rootFileSystem }:
{
  # .deb files.
  packages,
  name ? "toolchain",
}:
rootFileSystem {
  inherit name packages;
  exclude = [
    "usr/share/doc"
    "usr/share/man"
    "usr/share/info"
    "usr/share/locale"
    "usr/share/lintian"
    "usr/share/bug"
  ];
  symlinks = import ./alternatives.nix;
  texts = {
    "etc/passwd" =
      "root:x:0:0:root:/homeless:/bin/sh\n" + "builder:x:1000:100:builder:/homeless:/bin/sh\n";
    "etc/group" = "root:x:0:\nusers:x:100:\n";
    "etc/nsswitch.conf" = "passwd: files\ngroup: files\nhosts: files dns\n";
  };
}
