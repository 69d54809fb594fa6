#!/bin/sh
# syscall_names.sh OUTPUT COMPILER...: the names of x86_64's system calls, as lines [N] = "name", for
# an array.
set -eu
output=$1
shift
echo '#include <asm/unistd_64.h>' | "$@" -E -dM - |
    sed -n 's/^#define __NR_\([a-z0-9_]*\) \([0-9]*\)$/[\2] = "\1",/p' | sort -t'[' -k2n >"$output"
[ -s "$output" ]
