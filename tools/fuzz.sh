#!/usr/bin/env bash
# Run fuzz targets and report them as TAP, one case for each target:
#
#   tools/fuzz.sh BUILD SECONDS [TARGET...]
#
# BUILD was configured with -Dfuzz=enabled. New inputs are kept in BUILD/corpus/TARGET; an input that
# breaks the target is written to BUILD/findings/ and can be run again by giving it to the program.
set -uo pipefail
shopt -s nullglob

top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/tools/sanitizers.bash"
build=$1
seconds=$2
shift 2
if [[ $# == 0 ]]; then
    for program in "$build"/fuzz/fuzz_*; do
        [[ -d $program ]] || set -- "$@" "${program##*/fuzz_}"
    done
fi

mkdir -p "$build/findings"
echo "1..$#"
number=0
failed=0
for target in "$@"; do
    number=$((number + 1))
    program=$build/fuzz/fuzz_$target
    log=$build/findings/$target.log
    corpora=("$build/corpus/$target")
    [[ ! -d $top/fuzz/corpus/$target ]] || corpora+=("$top/fuzz/corpus/$target")
    options=(-max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1
        -artifact_prefix="$build/findings/$target-")
    [[ ! -f $top/fuzz/$target.dict ]] || options+=(-dict="$top/fuzz/$target.dict")
    mkdir -p "${corpora[0]}"
    if "$program" "${options[@]}" "${corpora[@]}" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        echo "ok $number - fuzz: $target ($runs runs in $seconds s)"
    else
        failed=1
        echo "not ok $number - fuzz: $target"
        {
            grep -A 30 -E -m 1 'ERROR:|runtime error:|No such file' "$log" || cat "$log"
            grep 'Test unit written to' "$log"
        } | tail -n 40 | cat -v | sed 's/^/# /'
    fi
done
exit $failed
