# Installs the components of a release channel below $out/usr, without their documentation.
# An archive holds NAME/components, which lists directories, and NAME/DIRECTORY/manifest.in beside their files.
set -eu
export PATH=/usr/bin LANG=C.UTF-8

mkdir -p "$out/usr"
for archive in $components; do
    rm -rf /tmp/component
    mkdir -p /tmp/component
    tar -xf "$archive" --no-same-owner --strip-components=1 -C /tmp/component
    while read -r directory; do
        rm -rf "/tmp/component/$directory/share" "/tmp/component/$directory/manifest.in"
        cp -R "/tmp/component/$directory/." "$out/usr"
    done < /tmp/component/components
done
