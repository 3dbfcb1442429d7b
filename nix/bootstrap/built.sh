# Builds programs by a plain `cargo build`; see built.nix for the variables.
set -eu
export PATH=/usr/bin HOME=/homeless LANG=C.UTF-8 SOURCE_DATE_EPOCH=0
export CARGO_HOME=/cargo/home CARGO_TARGET_DIR=/cargo/target CARGO_INCREMENTAL=0
# Nothing of the machine or of a root file system is needed to run them.
export RUSTFLAGS="-C target-feature=+crt-static"

# The SHA-256 of an executable file as a Nix archive: what its path in the store depends on.
files_of() {
    size=$(stat -c %s "$1")
    {
        for word in nix-archive-1 "(" type regular executable "" contents; do text "$word"; done
        number "$size"
        cat "$1"
        pad "$size"
        text ")"
    } | sha256sum | cut -d " " -f 1
}
# A number as eight bytes, the lowest first.
number() {
    rest=$1
    for _ in 1 2 3 4 5 6 7 8; do
        printf "\\$(printf %03o $((rest % 256)))"
        rest=$((rest / 256))
    done
}
# Zeros up to a multiple of eight.
pad() { head -c $(((8 - $1 % 8) % 8)) /dev/zero; }
text() {
    number ${#1}
    printf %s "$1"
    pad ${#1}
}

cd /workspace
printf '%s' "$manifest" > Cargo.toml
printf '%s' "$lock" > Cargo.lock
mkdir -p crates /cargo/registry /cargo/home
echo "$crates" | while read -r name path manifest; do
    cp -r "$path" "crates/$name"
    chmod u+w "crates/$name"
    cp "$manifest" "crates/$name/Cargo.toml"
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

packages=
for program in $programs; do packages="$packages --package crateyard-$program"; done
# shellcheck disable=SC2086 # One word for each argument.
cargo build --offline --profile bootstrap --target "$target" $packages

mkdir -p "$out/bin"
for program in $programs; do
    cp "/cargo/target/$target/bootstrap/$program" "$out/bin/"
    files_of "$out/bin/$program" > "$out/$program.files"
done
