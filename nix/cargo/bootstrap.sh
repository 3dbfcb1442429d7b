# Builds one program by a plain `cargo build`; see bootstrap.nix for the variables.
set -eu
export PATH=/usr/bin HOME=/homeless LANG=C.UTF-8 SOURCE_DATE_EPOCH=0
export CARGO_HOME=/cargo/home CARGO_TARGET_DIR=/cargo/target CARGO_INCREMENTAL=0

cd /workspace
printf '%s' "$manifest" > Cargo.toml
printf '%s' "$lock" > Cargo.lock
mkdir -p crates /cargo/registry /cargo/home
echo "$crates" | while read -r name path; do
    cp -r "$path" "crates/$name"
done
echo "$sources" | while read -r path checksum; do
    tar -xzf "$path" --no-same-owner -C /cargo/registry
    # The archive's directory, as the file's name in the store has it.
    directory=${path##*/}
    directory=${directory#*-}
    printf '{"files":{},"package":"%s"}' "$checksum" \
        > "/cargo/registry/${directory%.crate}/.cargo-checksum.json"
done
cat > /cargo/home/config.toml <<CONFIG
[source.crates-io]
replace-with = "registry"
[source.registry]
directory = "/cargo/registry"
CONFIG

cargo build --release --offline --package "$package"
mkdir -p "$out/bin"
cp "/cargo/target/release/$package" "$out/bin/"
