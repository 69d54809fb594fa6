# What every system test needs. A test file starts with `load helpers` and may use:
#
#   $UHYVE   the program under test          $GUESTS  the directory of the guests
#   $WORK    an empty directory of the test's own
#
#   guest NAME              path of the build of a guest that runs on this machine
#   run_uhyve ARG...        run the program; then $status, $stdout, $stderr hold what came out
#   run_limited CMD ARG...  the same for any command line
#   expect_status N, expect_stdout TEXT, expect_stdout_line REGEX, expect_stderr_line REGEX,
#   expect_no_stdout, expect_no_stderr, expect_one_error REGEX
#   skip_unless_kvm, skip_unless_native_kvm, skip_if_nested WHY, require_accel NAME, image NAME
#
# By default the program built in build/ is tested; UHYVE and GUESTS name another.

bats_require_minimum_version 1.5.0

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$top/tools/kvm.bash"
. "$top/tools/sanitizers.bash"
UHYVE=${UHYVE:-$top/build/src/uhyve}
GUESTS=${GUESTS:-$(dirname "$(dirname "$UHYVE")")/guests}

# Seconds after which a program is killed. A guest that went wrong may idle for ever.
UHYVE_TEST_LIMIT=${UHYVE_TEST_LIMIT:-30}

# What a user may have set must not change what the tests see.
unset "${!HERMIT_@}" UHYVE_ACCEL RUST_LOG

# The accelerator under test; empty: the one uhyve chooses.
UHYVE_TEST_ACCEL=${UHYVE_TEST_ACCEL:-}
[[ -z $UHYVE_TEST_ACCEL ]] || export UHYVE_ACCEL=$UHYVE_TEST_ACCEL
export XDG_CONFIG_HOME=/nonexistent

setup() {
    common_setup
}

# For test files with a setup() of their own.
common_setup() {
    WORK=$BATS_TEST_TMPDIR
    cd "$WORK" || return 1
    if [[ ! -x $UHYVE ]]; then
        echo "$UHYVE is not there: build first, or set UHYVE to the program under test"
        return 1
    fi
}

# Skip the test, with the reason, where guests are to run in KVM and there is no usable one.
skip_unless_kvm() {
    local problem
    [[ $UHYVE_TEST_ACCEL == kvm ]] || return 0
    problem=$(kvm_problem)
    [[ -z $problem ]] || skip "$problem"
}

# Skip the test where the KVM under test cannot run every guest, for example real images: they use
# SSE.
skip_unless_native_kvm() {
    skip_unless_kvm
    [[ $UHYVE_TEST_ACCEL != kvm ]] || kvm_is_native || skip "KVM emulates ring 0 on this machine (no VMX or SVM)"
}

# skip_if_nested WHY: skip the test in the emulated machine of tests/nested, for what it cannot do.
skip_if_nested() {
    [[ -z ${UHYVE_NESTED:-} ]] || skip "$1"
}

# require_accel NAME: skip the test where this accelerator cannot run guests.
require_accel() {
    case $1 in
    kvm) skip_unless_kvm ;;
    direct) ;; # needs nothing but the processor
    *)
        echo "there is no accelerator '$1'"
        return 1
        ;;
    esac
}

# guest NAME: the path of a guest, for example hello-v2; of its general-registers-only build where
# nothing else runs.
guest() {
    local file=$GUESTS/$1
    [[ $UHYVE_TEST_ACCEL != kvm || $1 == *-gpr ]] || kvm_is_native || file+=-gpr
    if [[ ! -e $file ]]; then
        echo "there is no guest $file" >&2
        return 1
    fi
    echo "$file"
}

# image NAME: the path of a real image in $image; skips the test where there is none.
image() {
    [[ -n ${UHYVE_TEST_IMAGES:-} ]] || skip "UHYVE_TEST_IMAGES is not set"
    image=$UHYVE_TEST_IMAGES/$1
    [[ -e $image ]] || skip "UHYVE_TEST_IMAGES has no $1"
}

# run_limited COMMAND ARG...: run it with the time limit. $status, $stdout and $stderr (without the
# newlines at their ends; also in files of these names in $WORK) hold what came out. Standard input
# is the caller's. A test that fails later shows all of this.
run_limited() {
    echo "\$ $*"
    status=0
    timeout -s KILL "$UHYVE_TEST_LIMIT" "$@" >"$WORK/stdout" 2>"$WORK/stderr" || status=$?
    if ((status == 137)) && [[ -n ${UHYVE_NESTED:-} && "$*" == *"${UHYVE_TEST_IMAGES:-no image}"* ]]; then
        # The emulator may have let an interrupt in before HLT (see tests/nested/init).
        status=0
        timeout -s KILL "$UHYVE_TEST_LIMIT" "$@" >"$WORK/stdout" 2>"$WORK/stderr" || status=$?
    fi
    # Where the kernel has no Landlock, that is said with every run.
    [[ -n ${KEEP_WARNING:-} ]] || sed -i "/^uhyve: warning: this kernel has no Landlock/d" "$WORK/stderr"
    # shellcheck disable=SC2034 # for the tests
    stdout=$(tr -d '\0' <"$WORK/stdout")
    # shellcheck disable=SC2034
    stderr=$(tr -d '\0' <"$WORK/stderr")
    echo "status: $status"
    sed 's/^/stdout: /' "$WORK/stdout"
    sed 's/^/stderr: /' "$WORK/stderr"
    if ((status == 137)); then
        echo "killed: it did not end within $UHYVE_TEST_LIMIT s"
        return 1
    fi
}

run_uhyve() {
    run_limited "$UHYVE" "$@"
}

expect_status() {
    ((status == $1)) || {
        echo "expected status $1"
        return 1
    }
}

# The whole standard output is TEXT.
expect_stdout() {
    [[ $stdout == "$1" ]] || {
        echo "expected as standard output: $1"
        return 1
    }
}

# A line of the output matches the extended regular expression.
expect_stdout_line() {
    grep -Eaq -e "$1" "$WORK/stdout" || {
        echo "expected on standard output a line like: $1"
        return 1
    }
}

expect_stderr_line() {
    grep -Eaq -e "$1" "$WORK/stderr" || {
        echo "expected on standard error a line like: $1"
        return 1
    }
}

expect_no_stdout() {
    [[ ! -s $WORK/stdout ]] || {
        echo "expected nothing on standard output"
        return 1
    }
}

expect_no_stderr() {
    [[ ! -s $WORK/stderr ]] || {
        echo "expected nothing on standard error"
        return 1
    }
}

# The program has said exactly one line, an error that matches, and nothing on standard output.
expect_one_error() {
    expect_no_stdout
    expect_stderr_line "^uhyve: error: .*$1"
    (($(wc -l <"$WORK/stderr") == 1)) || {
        echo "expected a single line on standard error"
        return 1
    }
}
