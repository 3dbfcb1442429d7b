# Runs plain `cargo build` in a cell with the workspace's toolchain, at the paths that units see.
# Units must make the same bytes. The output holds the programs, Cargo's messages about each unit
# (`messages`), and how long each took (`timings.html`).
{
  # This flake.
  crateyard,
  # A workspace, and a list of its binaries to build, as { package, bin }.
  src,
  binaries,
  # Whether to compile nothing, and to write Cargo's unit graph to `unit-graph`.
  graphOnly ? false,
  # Whether to keep the whole target directory below `target`, and to write each process's call to
  # `log`.
  keepTarget ? false,
  system ? "x86_64-linux",
}:
let
  toolchainLock = src + "/toolchain.lock";
  foundation =
    if builtins.pathExists toolchainLock then
      import ../nix/foundation.nix {
        inherit system toolchainLock;
        crateyard = crateyard.outPath;
        host = (import ../nix/systems.nix).${system};
      }
    else
      crateyard.lib.foundationFor system;
  lock = import ../nix/cargo/lock.nix { lock = src + "/Cargo.lock"; };
  debianLock = src + "/debian.lock";
  debian = import ../nix/debian/lock.nix {
    lock = debianLock;
    architecture = "amd64";
    fallback = foundation.debian;
  };
  # What units of single crates see beside the toolchain, Cargo sees as a whole.
  native =
    if builtins.pathExists debianLock then
      builtins.filter (set: crateOf set != null) (
        builtins.attrNames (builtins.fromJSON (builtins.readFile debianLock)).sets
      )
    else
      [ ];
  # The crate of the set `crates.NAME`; null for other sets.
  crateOf = set: builtins.match "crates\\.(.*)" set;
  # As units have them: ../nix/images.nix.
  nativeRoot =
    set:
    foundation.rootFileSystem {
      name = "native-${builtins.head (crateOf set)}";
      packages = debian.packagesOf set;
    };
in
foundation.cell {
  name = "cargo";
  roots = foundation.toolchain ++ map nativeRoot native;
  program = "/usr/bin/sh";
  args = [
    "-c"
    ''
      set -eu
      export PATH=/usr/bin HOME=/homeless LANG=C.UTF-8 CARGO_HOME=/cargo/home CARGO_INCREMENTAL=0
      export SOURCE_DATE_EPOCH=0 ZERO_AR_DATE=1
      mkdir -p /cargo/registry /cargo/home
      cp -r "$src/." /workspace/
      chmod -R u+w /workspace
      echo "$crates" | while read -r path checksum; do
        [ -n "$path" ] || continue
        tar -xzf "$path" --no-same-owner -C /cargo/registry
        directory=''${path##*/}
        directory=''${directory#*-}
        printf '{"files":{},"package":"%s"}' "$checksum" \
          > "/cargo/registry/''${directory%.crate}/.cargo-checksum.json"
      done
      cat > /cargo/home/config.toml <<CONFIG
      [source.crates-io]
      replace-with = "registry"
      [source.registry]
      directory = "/cargo/registry"
      CONFIG
      cd /workspace
      if [ -n "$graphOnly" ]; then
        mkdir "$out"
        RUSTC_BOOTSTRAP=1 cargo build -Z unstable-options --unit-graph --profile release \
          --target x86_64-unknown-linux-gnu --offline --locked $selection > "$out/unit-graph"
        exit
      fi
      cargo build --profile release --target x86_64-unknown-linux-gnu --offline --locked \
        --message-format json-render-diagnostics --target-dir /cargo/target --timings \
        $verbose $selection > /cargo/messages 2> /cargo/log \
        || { cat /cargo/log >&2; exit 1; }
      mkdir "$out"
      cp /cargo/log "$out/log"
      cp /cargo/messages "$out/messages"
      cp /cargo/target/cargo-timings/cargo-timing.html "$out/timings.html"
      for program in $programs; do
        cp "/cargo/target/x86_64-unknown-linux-gnu/release/$program" "$out/"
      done
      if [ -n "$keepTarget" ]; then
        cp -r /cargo/target "$out/target"
      fi
    ''
  ];
  writable = [
    "/workspace"
    "/cargo"
  ];
  attributes = {
    inherit graphOnly keepTarget;
    verbose = if keepTarget then "-vv" else "";
    programs = map (binary: binary.bin) binaries;
    selection = map ({ package, bin }: "--package ${package} --bin ${bin}") binaries;
    src = builtins.path {
      name = "workspace";
      path = src;
    };
    crates = builtins.concatStringsSep "\n" (
      map (crate: "${crate.path} ${crate.checksum}") (
        builtins.filter (crate: crate ? checksum) lock.outside
      )
    );
  };
}
