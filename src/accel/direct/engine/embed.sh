#!/bin/sh
# embed.sh PROGRAM OUTPUT: write assembler source that puts the bytes of PROGRAM between two symbols.
set -eu
strip -o "$2.stripped" "$1"
cat >"$2" <<END
    .section .rodata.direct_engine, "a", @progbits
    .hidden direct_engine_start
    .globl direct_engine_start
    .balign 16
direct_engine_start:
    .incbin "$(realpath "$2.stripped")"
    .hidden direct_engine_end
    .globl direct_engine_end
direct_engine_end:
    .section .note.GNU-stack, "", @progbits
END
