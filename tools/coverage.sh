#!/usr/bin/env bash
# Which branches do the tests reach?
#
#   tools/coverage.sh BUILD                 unit tests, collected fuzz inputs, system tests with
#                                           each accelerator, fault injection; compared with
#                                           tools/coverage.floors
#   tools/coverage.sh BUILD --fuzz TARGET   one fuzz target with its inputs alone
#
# BUILD was configured with -Db_coverage=true. The details, line by line, are in BUILD/coverage.html.
# The exit status is 0 only if no directory has less than its floor; a failed test is reported, and
# counts with what it has reached. A run that was interrupted goes on where it was, if neither the
# build nor the system tests have changed. UHYVE_COVERAGE_SKIP_SYSTEM=1 leaves the system tests out.
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/$1
shift
cd "$top" || exit 1

# What libgcov has to say (a full disk, a limit) is not what the tests look at.
export GCOV_ERROR_FILE=/dev/null

# Nothing counted, and nothing left of sources that are gone.
reset() {
    ninja -C "$build" -t cleandead >/dev/null
    find "$build" -name '*.gcno' -exec \
        sh -c 'for note; do [ -e "${note%.gcno}.o" ] || rm "$note"; done' sh {} +
    find "$build" -name '*.gcda' -delete
    rm -rf "$build/kept"
}

# Processes that have changed their user count, too: into files that are there already.
prepare() {
    find "$build" -name '*.gcno' -exec sh -c 'for note; do : >"${note%.gcno}.gcda"; done' sh {} +
    find "$build" -name '*.gcda' -exec chmod a+rw {} +
}

# A program that is killed, or whose calls fail, while it writes its counts leaves a broken file:
# then what was there at the last checkpoint counts.
checkpoint() {
    local file kept
    while IFS= read -r file; do
        kept=$build/kept/${file#"$build"/}
        if [[ -s $file ]] && ! gcov-dump -l "$file" 2>&1 |
            grep -qaE 'not a gcov|mismatch|warning:|read error at|overflow at| -[0-9]'; then
            mkdir -p "${kept%/*}"
            cp "$file" "$kept"
        elif [[ -s $kept ]]; then
            cp "$kept" "$file"
        else
            : >"$file"
        fi
    done < <(find "$build" -path "$build/kept" -prune -o -name '*.gcda' -print)
}

# report NAME: csv and html of what was counted since the last reset.
report() {
    checkpoint
    rm -rf "$build/kept"
    find "$build" -name '*.gcda' -empty -delete
    gcovr --root "$top" --filter src/ --object-directory "$build" "$build" -j 2 \
        --exclude-unreachable-branches --gcov-ignore-parse-errors --csv "$build/$1.csv" --html-details "$build/$1.html" ||
        exit 1
}

# What the steps depend on.
fingerprint() {
    find "$build" tests/system -name '*.gcno' -o -name '*.ba[ts]*' | sort | xargs -d '\n' cat | sha256sum
}

# begin: reset, unless the steps of an interrupted run are still valid.
begin() {
    local now
    ninja -C "$build" --quiet all fault-programs | grep -v '^ninja: '
    now=$(fingerprint)
    if [[ -s $steps && $(head -n 1 "$steps") == "$now" ]]; then
        checkpoint
        return
    fi
    reset
    prepare
    fingerprint >"$steps"
}

# step NAME COMMAND...: if an interrupted run has not done it already.
step() {
    local name=$1 start=$SECONDS
    shift
    ! grep -qxF "$name" "$steps" || return 0
    "$@"
    checkpoint
    echo "$name" >>"$steps"
    echo "$name: $((SECONDS - start)) s"
}

# meson_tests SUITE
meson_tests() {
    meson test -C "$build" --no-rebuild --suite "$1" --timeout-multiplier 4 --quiet ||
        echo "some tests have failed"
}

# system_tests FILE ACCELERATOR
system_tests() {
    local name
    name=$(basename "$1" .bats)
    UHYVE=$build/src/uhyve GUESTS=$build/guests UHYVE_TEST_ACCEL=$2 \
        UHYVE_TEST_LIMIT=${UHYVE_TEST_LIMIT:-120} bats --tap "$1" >"$build/system-$name-$2.tap"
    grep '^not ok' "$build/system-$name-$2.tap"
}

# fault_tests CASE: every call of the host fails once: what is done then is reached in no other way.
fault_tests() {
    tests/faults/run -b "$build" -f "^$1 with (kvm|direct|-)\$" >"$build/faults.tap" 2>&1 ||
        grep '^not ok' "$build/faults.tap"
}

# The floors: lines of a path prefix and the percentage of branches that must be reached.
compare() {
    awk -F, -v floors="$top/tools/coverage.floors" '
        BEGIN {
            while ((getline line < floors) > 0) {
                if (line ~ /^#/ || line == "") continue
                split(line, field, " ")
                floor[field[1]] = field[2]
                order[++count] = field[1]
            }
        }
        FNR > 1 {
            for (i = 1; i <= count; i++)
                if (index($1, order[i]) == 1) {
                    lines[i] += $2; reached[i] += $3; branches[i] += $5; taken[i] += $6
                }
        }
        END {
            printf "%-34s %16s %22s %6s\n", "", "lines", "branches", "floor"
            for (i = 1; i <= count; i++) {
                share = branches[i] ? 100 * taken[i] / branches[i] : 0
                low = share < floor[order[i]]
                bad += low
                printf "%-34s %6d of %6d %6d of %6d %5.1f %% %4d %%%s\n", order[i], reached[i],
                    lines[i], taken[i], branches[i], share, floor[order[i]], low ? " BELOW" : ""
            }
            exit bad > 0
        }' "$build/coverage.csv"
}

if [[ ${1:-} == --fuzz ]]; then
    reset
    prepare
    program=$build/fuzz/fuzz_$2
    inputs=("$top/fuzz/corpus/$2")
    [[ ! -d $top/build-fuzz/corpus/$2 ]] || inputs+=("$top/build-fuzz/corpus/$2")
    "$program" "${inputs[@]}" | tail -n 1
    report "fuzz-$2"
    awk -F, -v OFS='\t' 'FNR > 1 && $6 > 0 { printf "%6d of %6d branches  %5.1f %%  %s\n", $6, $5, 100 * $6 / $5, $1 }' \
        "$build/fuzz-$2.csv" | sort -k5 -rn
    echo "line by line: ${build#"$top"/}/fuzz-$2.html"
    exit
fi
steps=$build/coverage.steps
begin
step unit meson_tests unit
step fuzz meson_tests fuzz
[[ ${UHYVE_COVERAGE_SKIP_SYSTEM:-} == 1 ]] || {
    for file in tests/system/*.bats; do
        step "$file with direct" system_tests "$file" direct
    done
    while IFS= read -r name; do
        step "faults of $name" fault_tests "$name"
    done < <(tests/faults/run -b "$build" --list)
    for file in tests/system/*.bats; do
        step "$file with kvm" system_tests "$file" kvm
    done
}
report coverage
rm "$steps"
compare
