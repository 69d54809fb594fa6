#!/bin/sh
# Configure a build directory where that is needed, and build:
#
#   tools/build.sh DIR [-DOPTION=VALUE...] [-- NINJA_ARGUMENT...]
#
# An option that is not given stays as it was. The compiler is that of the first time: $CC, or else
# the system's.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
dir=$1
shift
record=$dir/.options

[ -f "$dir/build.ninja" ] || rm -rf "$dir/meson-private" "$dir/meson-info" "$record"
mkdir -p "$dir"
touch "$record"
changed=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    if ! grep -qxF -e "$1" "$record"; then
        changed="$changed $1"
        grep -v -e "^${1%%=*}=" "$record" >"$record.new" || true
        echo "$1" >>"$record.new"
        mv "$record.new" "$record"
    fi
    shift
done
[ $# = 0 ] || shift

# shellcheck disable=SC2086 # a list of options
if [ ! -f "$dir/build.ninja" ]; then
    meson setup $changed "$dir" "$top" || {
        rm -f "$record"
        exit 1
    }
elif [ -n "$changed" ]; then
    meson setup --reconfigure $changed "$dir" "$top"
fi
exec ninja -C "$dir" "$@"
