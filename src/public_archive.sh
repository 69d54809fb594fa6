#!/bin/sh
# Make the archive that is installed from the one of all objects: a single object whose only names
# are those of the interface, so that a program may have functions with the names of internal ones.
#
#   public_archive.sh OUTPUT ARCHIVE AR OBJCOPY LIBRARIES COMPILER...
#
# Hidden visibility, which internal names have, is no help by itself: it keeps names within a program
# or a shared library, and an archive's objects become part of it. What is needed of LIBRARIES, a list
# of -lNAME, is included, and its names hidden as well.
set -eu

output=$1 archive=$2 ar=$3 objcopy=$4 libraries=$5
shift 5

object=${output%.a}.o
# shellcheck disable=SC2086 # a list
"$@" -r -nostdlib -o "$object" -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
    -Wl,-Bstatic $libraries
"$objcopy" --localize-hidden --wildcard --keep-global-symbol='uhyve_*' "$object"
rm -f "$output"
"$ar" crD "$output" "$object"
rm "$object"
