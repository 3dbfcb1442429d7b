# Unpacks the archive of a part to $out; see part.nix for the variables. cmake reads tar, zip and 7z
# with every usual compression, no matter what the file is called (libarchive). It sets no owners,
# and the store keeps no times. An entry that leads out of the directory reaches nothing: only /tmp
# can be written.
set -eu
export PATH=/usr/bin LANG=C.UTF-8

fail() {
    printf 'error: %s in images.toml: %s\n' "$place" "$*" >&2
    exit 1
}

mkdir /tmp/unpacked
cd /tmp/unpacked
if ! cmake -E tar xf "$archive"; then
    if cmake -E tar tf "$archive" >/dev/null 2>&1; then
        fail "the archive can't be unpacked: it is damaged, or an entry leads out of it"
    fi
    fail "the download is not an archive: drop \`unpack\`"
fi
chmod -R u+rwX .
top=.
left=$strip
while [ "$left" -gt 0 ]; do
    entries=$(ls -A "$top")
    if [ -L "$top/$entries" ] || ! [ -d "$top/$entries" ] || [ -z "$entries" ]; then
        fail "\`strip = $strip\` wants one directory in another, but at $top the archive has:" \
            "$(echo $entries)"
    fi
    top=$top/$entries
    left=$((left - 1))
done
cp -RT "$top" "$out"
