# Installs one component of a release below $out/usr. Its archive holds NAME/components, which lists directories, and
# NAME/DIRECTORY/manifest.in beside the files.
set -eu
export PATH=/usr/bin LANG=C.UTF-8

mkdir -p "$out/usr" /tmp/component
tar -xf "$archive" --no-same-owner --strip-components=1 -C /tmp/component
while read -r directory; do
    rm "/tmp/component/$directory/manifest.in"
    cp -R "/tmp/component/$directory/." "$out/usr"
done < /tmp/component/components
