#!/usr/bin/env bash
# Build and test everything:
#
#   tools/check.sh [GROUP...]    groups: gcc system nested clang asan tsan fuzz prove (default: these),
#                                suite
#
# Progress goes to standard output, the details of each step to build/logs/STEP.log; a step that
# fails shows the failed tests or the end of its log. The last line gives the sum over all test
# cases. The exit status is 0 only if tests ran and none failed.
#
# Environment: FUZZ_SECONDS for each fuzz target (2); WERROR=false lets warnings pass, for compilers
# newer than the code; UHYVE_TEST_IMAGES as in tests/system/helpers.bash.
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
logs=$top/build/logs
options="-Dtests=enabled -Dwerror=${WERROR:-true}"
groups=${*:-gcc system nested clang asan tsan fuzz prove}
source_folders=(bench fuzz guests include prove src tests)
passed=0 failed=0 skipped=0
steps_failed=0
started=$SECONDS

. tools/sanitizers.bash

# failures LOG: the TAP lines of the failed tests with the diagnostics that follow them.
failures() {
    awk '/^(not )?ok([ \t]|$)/ { shown = /^not/ && toupper($0) !~ /# *SKIP/ } /^1\.\./ { shown = 0 }
         shown' "$1" | head -n 120
}

# skip_reasons LOG: how many tests were skipped for which reason.
skip_reasons() {
    grep -Ei '^(not )?ok .*# *skip' "$1" | sed -E 's/.*# *[Ss][Kk][Ii][Pp] *//' | sort | uniq -c |
        sed -E 's/^ *([0-9]+) (.*)/           \1 skipped: \2/'
}

# step NAME COMMAND...: run it, count its tests, tell how it went.
step() {
    local name=$1 log=$logs/$1.log begin=$SECONDS status=0 counts ok bad skips text
    shift
    "$@" >"$log" 2>&1 </dev/null || status=$?
    read -r ok bad skips < <(tools/tap-sum "$log")
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skips))
    counts=
    ((ok + bad + skips == 0)) || counts="tests: $((ok + bad + skips))"
    text=ok
    if ((status != 0 || bad != 0)); then
        text=FAILED
        steps_failed=$((steps_failed + 1))
        # A step that failed without a failed test: its program crashed, or did not build.
        ((bad != 0)) || failed=$((failed + 1))
    fi
    printf '%-7s %4d s  %-14s %s\n' "$text" $((SECONDS - begin)) "$name" "$counts"
    skip_reasons "$log"
    if [[ $text == FAILED ]]; then
        if ((bad != 0)); then
            failures "$log"
        elif ! grep -A 40 -m 1 -E '^FAILED: |ERROR: ' "$log"; then
            tail -n 60 "$log"
        fi
        echo "(status $status; the whole log: ${log#"$top"/})"
        return 1
    fi
}

# build DIR OPTION... [-- TARGET...]
build() {
    local dir=$1
    shift
    # shellcheck disable=SC2086 # a list of options
    tools/build.sh "$dir" $options "$@"
}

# unit DIR: unit tests, and the fuzz targets with their collected inputs. Meson would take a program
# that reports nothing for skipped.
unit() {
    local status=0 log=$1/meson-logs/unit.txt
    meson test -C "$1" --no-rebuild --logbase unit --suite unit --suite fuzz \
        --timeout-multiplier 4 || status=$?
    cat "$log"
    (($(grep -c '^test: ' "$log") == $(grep -c '^1\.\.' "$log"))) || {
        echo "not every test program has reported what it tests"
        status=1
    }
    return $status
}

# is_for BUILD ACCELERATOR NAME: whether that build is worth the time of these system tests. What does
# not run guests is tested once, with KVM. With a sanitizer, KVM gets what differs from `direct`; the
# host's limits are not those of the runtime, and its errors are looked for by fault injection there;
# ThreadSanitizer wants a second thread.
is_for() {
    case $2:$3 in
    kvm:direct | direct:cli) return 1 ;;
    esac
    case $1:$2:$3 in
    build:*) ;;
    *:limits | *:full-disk | *:surroundings) return 1 ;;
    build-tsan:*:images-* | build-tsan:*:arguments | build-tsan:*:cli) return 1 ;;
    build-tsan:*:crash | build-tsan:*:isolation) return 1 ;;
    *:kvm:cli | *:kvm:core | *:kvm:gdb | *:kvm:guests) ;;
    *:kvm:*) return 1 ;;
    esac
}

# system_tests DIR ACCELERATOR LIMIT
system_tests() {
    local file name chosen=()
    for file in tests/system/*.bats; do
        name=${file##*/}
        ! is_for "$1" "$2" "${name%.bats}" || chosen+=("$file")
    done
    UHYVE=$top/$1/src/uhyve GUESTS=$top/$1/guests UHYVE_TEST_ACCEL=$2 UHYVE_TEST_LIMIT=$3 \
        bats --tap "${chosen[@]}"
}

layout() {
    local files version
    version=$(clang-format --version 2>/dev/null | sed -E 's/.*version ([0-9]+).*/\1/')
    echo "1..1"
    if [[ $version != 14 ]]; then
        echo "ok 1 - source layout # SKIP needs clang-format 14: each version has its own opinion"
    elif mapfile -t files < <(find "${source_folders[@]}" -name '*.[ch]') &&
        clang-format --dry-run --Werror "${files[@]}"; then
        echo "ok 1 - source layout"
    else
        echo "not ok 1 - source layout (run: make format)"
    fi
}

# main_build: the ordinary build, once, for the groups that test it.
main_build() {
    [[ -n ${main_build_status:-} ]] || {
        step build-gcc build build
        main_build_status=$?
    }
    return "$main_build_status"
}

group_gcc() {
    step layout layout
    main_build && step unit-gcc unit build
}

group_system() {
    main_build || return
    step system-kvm system_tests build kvm 60
    step system-direct system_tests build direct 60
    step soak tests/soak/run -b build short
    step faults tests/faults/run -b build
}

group_nested() {
    main_build && step nested-gcc tests/nested/run -b build
}

group_suite() {
    main_build && step nested-suite tests/nested/run -b build -s
}

group_clang() {
    CC=clang step build-clang build build-clang && step unit-clang unit build-clang
}

# sanitizer_group NAME SANITIZERS
sanitizer_group() {
    step "build-$1" build "build-$1" "-Db_sanitize=$2" -Db_lundef=false || return
    step "unit-$1" unit "build-$1"
    step "kvm-$1" system_tests "build-$1" kvm 120
    step "direct-$1" system_tests "build-$1" direct 120
    step "soak-$1" tests/soak/run -b "build-$1" lifecycle 6
}

group_asan() {
    sanitizer_group asan address,undefined && step faults-asan tests/faults/run -b build-asan
}

group_tsan() {
    sanitizer_group tsan thread
}

group_fuzz() {
    CC=clang step build-fuzz build build-fuzz -Dfuzz=enabled -Db_sanitize=address,undefined \
        -Db_lundef=false -- fuzz-programs && step fuzz tools/fuzz.sh build-fuzz "${FUZZ_SECONDS:-2}"
}

prove() {
    if UHYVE_NO_INSTALL=1 tools/deps.sh prove >/dev/null; then
        tools/prove.sh
    else
        printf '1..1\nok 1 - proofs # SKIP needs Frama-C and provers (make prove installs them)\n'
    fi
}

group_prove() {
    step prove prove
}

mkdir -p "$logs"
rm -f "$logs"/*
for group in $groups; do
    if ! declare -F "group_$group" >/dev/null; then
        echo "check: there is no group '$group'" >&2
        exit 2
    fi
    "group_$group"
done
echo "$((SECONDS - started)) s; logs are in build/logs"
echo "$passed passed, $failed failed, $skipped skipped" | tee "$logs/summary"
((failed == 0 && steps_failed == 0 && passed > 0))
