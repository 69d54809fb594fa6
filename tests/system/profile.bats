#!/usr/bin/env bats
# The statistical profile: --profile.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# expect_share FUNCTION PERCENT: in the folded stacks of the file `profile.folded` the function is on
# top in this share of the samples that are the guest's, give or take five percentage points.
expect_share() {
    awk -v name="$1" -v wanted="$2" '
        $1 == "[idle]" { next }
        { count = $NF; sub(/ [0-9]+$/, ""); sub(/.*;/, ""); all += count }
        $0 == name { own += count }
        END {
            share = all ? 100 * own / all : 0
            printf "%s: %.1f %% of %d samples\n", name, share, all
            exit !(all >= 100 && share > wanted - 5 && share < wanted + 5)
        }' profile.folded
}

@test "functions have their true shares" {
    for generation in v1 v2; do
        rm -f profile.folded
        # Many samples: then chance does not matter.
        run_uhyve --profile=profile.folded --profile-rate 5000 "$(guest hot-$generation)" -- -- 1000
        expect_status 0
        expect_stdout "done"
        expect_no_stderr
        expect_share hot_large 70
        expect_share hot_middle 20
        expect_share hot_small 10
        grep -Eq '^_start;guest_start;main;hot_caller;hot_large [0-9]+$' profile.folded
    done
}

@test "time in HLT is idle time and no function's" {
    run_uhyve --profile=profile.folded --profile-rate 5000 "$(guest hot-v2)" -- -- 1000 sleep
    expect_status 0
    grep -Eq '^\[idle\] [0-9]+$' profile.folded
    # About half of the time is spent there; on a busy machine more, since waiting needs no CPU.
    awk '$1 == "[idle]" { idle = $NF } { all += $NF }
         END { exit !(idle > all / 4 && idle < all) }' profile.folded
    grep -q 'hot_caller;hot_large ' profile.folded
}

@test "the table goes to standard error" {
    run_uhyve --profile "$(guest hot-v2)" -- -- 300
    expect_status 0
    expect_stdout "done"
    expect_stderr_line '^Profile: [0-9]+ samples of 1 CPU at 1000 per second: '
    expect_stderr_line '^ +[0-9.]+ +[0-9.]+ +[0-9]+  hot_large$'
}

@test "the flame graph is one valid file with all functions" {
    run_uhyve --profile=profile.svg "$(guest hot-v2)" -- -- 300
    expect_status 0
    expect_no_stderr
    grep -Eq '<title>hot_large \([0-9]+ samples, [0-9.]+ %\)</title>' profile.svg
    if command -v python3 >/dev/null; then
        python3 -c 'import sys, xml.dom.minidom as d; d.parse(sys.argv[1])' profile.svg
    fi
}

@test "all CPUs are sampled" {
    run_uhyve -c 2 --profile=profile.folded "$(guest demo-v2)"
    expect_status 0
    [[ -s profile.folded ]]
}

@test "an existing file is kept, a wrong rate is refused" {
    echo mine >profile.svg
    run_uhyve --profile=profile.svg "$(guest hot-v2)" -- -- 10
    expect_status 125
    expect_one_error "cannot create the profile file 'profile.svg': File exists"
    [[ $(<profile.svg) == mine ]]
    run_uhyve --profile --profile-rate 0 "$(guest hot-v2)" -- -- 10
    expect_status 2
    run_uhyve --profile --profile-rate 100000 "$(guest hot-v2)" -- -- 10
    expect_status 2
}

@test "a guest that crashes or is stopped leaves its profile, too" {
    run_uhyve --profile "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_stderr_line '^Profile: '
}
