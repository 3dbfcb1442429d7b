# Packs the programs of a package's tests with what they read; see test-archive.nix for the
# variables. The archive is to be unpacked at the root of a machine, where a test finds everything
# at the paths that were compiled into it. /tests/run runs all of them.
set -eu
export PATH=/usr/bin LANG=C.UTF-8

cd /archive
mkdir -p tests "./$directory"
cp -R "$source/." "./$directory"
printf '#!/bin/sh\n# Runs the tests of the package %s. Arguments go to each of them.\nfailed=0\n' \
    "$package" > tests/run
while read -r key value; do
    case "$key" in
    program)
        place=${value%%=*}
        mkdir -p ".$(dirname "$place")"
        cp "${value#*=}" ".$place"
        chmod 755 ".$place"
        ;;
    directory)
        place=${value%%=*}
        mkdir -p ".$place"
        cp -RT "${value#*=}" ".$place"
        chmod -R u+w ".$place"
        ;;
    line) printf '%s\n' "$value" >> tests/run ;;
    *) echo "error: unknown line $key $value" >&2; exit 1 ;;
    esac
done < "$testsPath"
printf 'exit $failed\n' >> tests/run
chmod 755 tests/run

mkdir "$out"
cp "$nextest/blob" "$out/$package-tests.tar.zst"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@1 --mode=u+rw,go=rX -cf - . \
    | xz -6 --threads=1 > "$out/$package-tests.tar.xz"
