# What the tests of limits, full disks and bare surroundings share. After `load limits`:
#
#   run_alone CMD ARG...    as run_limited, but nothing may be left behind: no process, no temporary
#                           directory
#   run_piped CMD ARG...    the same with pipes as standard output and error
#   expect_advice REGEX     one error that matches and says in parentheses what to do, no output
#   expect_hello            the guest "hello" has run: complete output, status 0, no message
#   expect_files NAME...    in the directory out/ there are these and no others
#   expect_nothing_left     what run_alone checks, for tests that start the program themselves
#   skip_if_counting        skip the test in a build for the coverage report
#   need_mounts             skip the test where there are no mount namespaces; then
#   mounted SCRIPT CMD ...  run_alone in one, after the script, in the directory place/

load helpers

setup() {
    common_setup
    skip_unless_kvm
    mkdir tmp out
    export TMPDIR=$WORK/tmp
}

# Sanitizers need memory, descriptors and files of their own.
skip_if_sanitized() {
    ! grep -qaE '__(a|t)san_init' "$UHYVE" || skip "the limits are those of a build without sanitizers"
}

# A build for the coverage report needs memory, and files that it can write.
skip_if_counting() {
    ! grep -qa __gcov_init "$UHYVE" || skip "not in a build for the coverage report"
}

helper() {
    echo "$(dirname "$UHYVE")/../tests/system/$1"
}

# In a session of its own, by which processes are found that it has left.
run_alone() {
    # shellcheck disable=SC2016 # for the inner shell
    run_limited setsid -w sh -c 'echo $$ >"$0"; exec "$@" 3>&-' \
        "$WORK/session" timeout -s KILL $((UHYVE_TEST_LIMIT - 2)) "$@"
    expect_nothing_left
}

# The same with pipes for its output: limits on the size of files would concern files.
run_piped() {
    # shellcheck disable=SC2016
    run_alone sh -c '{ { "$@" 2>&1 1>&4; echo $? >"$0"; } | cat >&2; } 4>&1 | cat; exit "$(cat "$0")"' \
        "$WORK/result" "$@"
}

# How to get a mount namespace here, in $unshare; skips the test where there is none to be had.
need_mounts() {
    mkdir -p place
    unshare=(unshare -m)
    ((EUID == 0)) || unshare=(unshare -rm)
    "${unshare[@]}" mount -t tmpfs none place 2>mounts || skip "no mount namespaces here: $(head -n 1 mounts)"
    [[ $UHYVE_TEST_ACCEL != kvm ]] || "${unshare[@]}" test -w /dev/kvm || skip "/dev/kvm is root's"
}

# mounted SCRIPT CMD ARG...: run_alone in a mount namespace, in $WORK/place, after the script.
mounted() {
    # shellcheck disable=SC2016
    run_alone "${unshare[@]}" sh -c 'cd "$0/place" && eval "$1" || exit 99; shift; exec "$@"' "$WORK" "$@"
}

expect_nothing_left() {
    local left
    for _ in $(seq 250); do
        left=$(pgrep -l -s "$(<"$WORK/session")" || true)
        [[ -n $left ]] || break
        sleep 0.02
    done
    if [[ -n $left ]]; then
        echo "processes that were left behind: $left"
        return 1
    fi
    left=$(find "$TMPDIR" -mindepth 2)
    if [[ -n $left ]]; then
        echo "left in the temporary directory: $left"
        return 1
    fi
}

expect_advice() {
    expect_one_error "$1"
    expect_stderr_line '^uhyve: error: .*\(.*\)$'
}

expect_hello() {
    expect_status 0
    expect_stdout 'Hello from a unikernel.'
    expect_no_stderr
}

expect_files() {
    [[ $(ls out) == $(printf '%s\n' "$@") ]] || {
        ls -l out
        echo "expected in out/: $*"
        return 1
    }
}
