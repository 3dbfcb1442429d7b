# In place of nix/bootstrap/built.nix, which is ./own.nix then: cross-compiles the programs for arm64
# on x86_64, because emulated compilers would take most of an hour.
arguments:
let
  systems = import ../systems.nix;
  builder = import ../foundation.nix {
    crateyard = ../..;
    system = "x86_64-linux";
    host = systems.x86_64-linux;
    toolchainLock = null;
  };
  debian = import ../debian/lock.nix {
    lock = ../../tests/workspaces/lantern/debian.lock;
    architecture = "amd64";
  };
  cross = builder.rootFileSystem {
    name = "cross-arm64";
    packages = debian.packagesOf "cross-arm64";
  };
in
import ./own.nix (
  if arguments.target != systems.aarch64-linux.rust then
    arguments
  else
    arguments
    // {
      toolchain = [ builder.debianToolchain cross ];
      cell =
        { attributes, ... }@described:
        builder.cell (
          described
          // {
            attributes = attributes // {
              CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER = "aarch64-linux-gnu-gcc";
            };
          }
        );
    }
)
