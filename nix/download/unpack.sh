# Unpacks the archive of a part to $out; see part.nix for the variables. cmake reads tar, zip and 7z
# with every usual compression, whatever the file is called (libarchive). It sets no owners, and the
# store keeps no times.
set -eu
export PATH=/usr/bin LANG=C.UTF-8

fail() {
    printf 'error: [parts.%s] in images.toml: %s\n' "$part" "$1" >&2
    exit 1
}

mkdir /tmp/unpacked
cd /tmp/unpacked
cmake -E tar xf "$archive" || fail "the download is no archive: drop \`unpack\`"
chmod -R u+rwX .
top=.
left=$strip
while [ "$left" -gt 0 ]; do
    entries=$(ls -A "$top")
    if [ -L "$top/$entries" ] || ! [ -d "$top/$entries" ] || [ -z "$entries" ]; then
        fail "\`strip = $strip\` wants one directory in another, but at $top the archive has: $(echo $entries)"
    fi
    top=$top/$entries
    left=$((left - 1))
done
cp -RT "$top" "$out"
