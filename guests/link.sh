#!/bin/sh
# usage: link.sh OUTPUT LINKER-COMMAND...
#
# Link a guest, then set the ABI byte of the ELF header to 255 ("standalone"), as Hermit kernels
# have it. No linker option does that.
set -eu

output=$1
shift
"$@" -o "$output.tmp"
printf '\377' | dd of="$output.tmp" bs=1 seek=7 conv=notrunc status=none
mv -f "$output.tmp" "$output"
