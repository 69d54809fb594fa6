#!/bin/sh
# Make sure that what a goal needs is on this machine:
#
#   tools/deps.sh run|build|check|bench|coverage|format|nested|prove ...
#
# On Debian and Ubuntu missing packages are installed, after saying which and why, with sudo where
# that is needed. Elsewhere the missing tools are listed. Where nothing is missing this does nothing
# and needs no network. UHYVE_NO_INSTALL=1 only reports.
set -u

# need PACKAGE TEST WHY: TEST is command:NAME, header:NAME, library:NAME (a shared one) or
# fuzzer:COMPILER (the compiler can link a fuzzing program). Notes PACKAGE if it is missing.
need() {
    is_there "$2" && return
    missing="$missing $1"
    reasons="$reasons  $1: $3
"
}

is_there() {
    case $1 in
    command:*) command -v "${1#command:}" >/dev/null 2>&1 && return ;;
    header:*)
        echo "#include <${1#header:}>" | ${CC:-cc} -E -include stdarg.h -include setjmp.h \
            -include stdint.h - >/dev/null 2>&1 && return
        ;;
    library:*)
        PATH=$PATH:/usr/sbin:/sbin ldconfig -p | grep -q "^[[:space:]]*${1#library:} " && return
        ;;
    fuzzer:*)
        echo 'int LLVMFuzzerTestOneInput(const void *data, long size) { return 0; }' |
            "${1#fuzzer:}" -fsanitize=fuzzer,address -o /dev/null -x c - >/dev/null 2>&1 && return
        ;;
    esac
    return 1
}

# Loaded by uhyve when a feature needs them.
needs_run() {
    need libarchive13 library:libarchive.so.13 "Hermit images are tar archives"
    need zlib1g library:libz.so.1 "compressed with gzip"
    need libzstd1 library:libzstd.so.1 "or with zstd"
    need libslirp0 library:libslirp.so.0 "networks without privileges"
}

needs_build() {
    needs_run
    need gcc command:cc "C compiler"
    need libc6-dev header:stdio.h "C library headers"
    need linux-libc-dev header:linux/kvm.h "KVM's interface"
    need meson command:meson "build system"
    need ninja-build command:ninja "build system"
    need libslirp-dev header:slirp/libslirp.h "networks without privileges"
    need libfdt-dev header:libfdt.h "device trees for the guest"
    need libiberty-dev header:libiberty/demangle.h "names of Rust and C++ functions"
    need libzydis-dev header:Zydis/Zydis.h "disassembly in crash reports"
    need libarchive-dev header:archive.h "Hermit images are tar archives"
    need zlib1g-dev header:zlib.h "compressed with gzip"
    need libzstd-dev header:zstd.h "or with zstd"
    need libseccomp-dev header:seccomp.h "filters of system calls, made by the build"
}

needs_nested() {
    need qemu-system-x86 command:qemu-system-x86_64 "emulates a machine with KVM for tests"
    need busybox-static command:busybox "user land of that machine"
    need cpio command:cpio "packs that user land"
    need xz-utils command:xz "unpacks kernel modules"
    need zstd command:zstd "unpacks kernel modules"
}

needs_check() {
    needs_build
    need libcmocka-dev header:cmocka.h "unit tests"
    need pkgconf command:pkg-config "finds cmocka"
    need bats command:bats "system tests"
    need gdb command:gdb "system tests of the debug server"
    need iproute2 command:ip "makes networks for system tests"
    need clang-format command:clang-format "source layout"
    need procps command:pgrep "system tests"
    need clang command:clang "second compiler, fuzzing"
    # On older systems clang's own package brings the runtime.
    if is_known libclang-rt-dev || ! is_known clang; then
        need libclang-rt-dev fuzzer:clang "sanitizers and fuzzing with clang"
    fi
    needs_nested
}

needs_bench() {
    needs_build
    need binutils command:strip "measures the stripped program"
}

needs_coverage() {
    needs_check
    need gcovr command:gcovr "coverage report"
}

needs_prove() {
    need gcc command:gcc "expands the macros of what is proved"
    need libc6-dev header:elf.h "C library headers"
    need linux-libc-dev header:linux/kvm.h "KVM's interface"
    need frama-c-base command:frama-c "says what has to be true"
    need why3 command:why3 "hands that to the provers"
    need cvc4 command:cvc4 "prover"
    need z3 command:z3 "prover"
}

needs_format() {
    need clang-format command:clang-format "source layout"
    need procps command:pgrep "system tests"
}

# find_missing GOAL...: sets missing and reasons.
find_missing() {
    missing=
    reasons=
    for goal in "$@"; do
        case $goal in
        run | build | check | bench | coverage | format | nested | prove) "needs_$goal" ;;
        *)
            echo "deps: unknown goal '$goal'" >&2
            exit 2
            ;;
        esac
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

is_known() {
    apt-cache show --no-all-versions "$1" >/dev/null 2>&1
}

# all_known PACKAGE...: whether the package lists of this machine have them.
all_known() {
    for package in "$@"; do
        is_known "$package" || return 1
    done
}

install_missing() {
    # shellcheck disable=SC2086 # a list of packages
    as_root apt-get install -q -y --no-install-recommends $missing
}

find_missing "$@"
[ -n "$missing" ] || exit 0

echo "Needed for this and not there (named as in Debian):"
printf '%s' "$reasons"
if [ -n "${UHYVE_NO_INSTALL:-}" ]; then
    exit 1
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Please install them: this script knows apt-get only." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "There is no sudo here. As root run: apt-get install$missing" >&2
        exit 1
    fi
    echo "Installing them with sudo, which may ask for your password."
else
    echo "Installing them."
fi
# shellcheck disable=SC2086
all_known $missing || as_root apt-get -q update || exit 1
find_missing "$@"
# A failure may be due to package lists that are older than the archive.
install_missing || { as_root apt-get -q update && install_missing; } || exit 1
find_missing "$@"
[ -z "$missing" ] || {
    echo "Still not there after installing:$missing" >&2
    exit 1
}
