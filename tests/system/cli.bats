#!/usr/bin/env bats
# The command line, the environment and the configuration file, as far as they need no guest.

load helpers

# A run that gets as far as looking for the image has accepted all its settings.
expect_accepted() {
    expect_status 127
    expect_one_error "'no-image'"
}

# usage_error REGEX ARG...: the arguments are refused, in one line that says what to do.
usage_error() {
    local pattern=$1
    shift
    run_uhyve "$@"
    expect_status 2
    expect_one_error "$pattern"
}

@test "--help goes to standard output, at most 80 columns wide" {
    run_uhyve --help
    expect_status 0
    expect_no_stderr
    expect_stdout_line '^Usage: uhyve \[OPTIONS\] IMAGE'
    for option in memory-size cpu-count affinity accel no-aslr thp ksm cpu-pm pit env-vars output \
        stats verbose config help version; do
        expect_stdout_line "--$option"
    done
    run ! grep -E '^.{81}' "$WORK/stdout"
}

@test "the manual page explains every option and variable of the help" {
    page=$BATS_TEST_DIRNAME/../../docs/uhyve.1
    run_uhyve --help
    names=$(grep -oE '^ +(-., )?--[a-z-]+' "$WORK/stdout" | sed 's/.*--//' | sort -u)
    (($(wc -w <<<"$names") > 12))
    for name in $names; do
        grep -q "^\.It .*Fl Fl $name" "$page"
    done
    for name in $(grep -oE '(HERMIT|UHYVE)_[A-Z_]+' "$WORK/stdout"); do
        grep -Eq "^\\.(It )?Ev $name" "$page"
    done
}

@test "--help wins over what follows it and needs no image" {
    run_uhyve -h --nonsense
    expect_status 0
    run_uhyve no-image --help
    expect_status 0
}

@test "--version is one line" {
    run_uhyve --version
    expect_status 0
    [[ $stdout =~ ^uhyve\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
    run_uhyve -V
    [[ $stdout =~ ^uhyve\ [0-9] ]]
}

@test "a missing image argument is a usage error" {
    usage_error 'IMAGE.*uhyve --help'
    usage_error 'IMAGE.*uhyve --help' -c 2 --
}

@test "an image that does not exist has its own status" {
    run_uhyve no-image
    expect_accepted
}

@test "an unknown option names the closest one" {
    usage_error "'--memroy-size'.*did you mean --memory-size\\?" --memroy-size 64M no-image
    usage_error "'--env_vars'.*--env-vars" --env_vars A=1 no-image
    usage_error "'--qqqqqq' \\(see uhyve --help\\)" --qqqqqq no-image
}

@test "single-dash words for the guest need -- before them" {
    usage_error "'-ip'.*after --" no-image -ip 10.0.5.3
    run_uhyve no-image -- -ip 10.0.5.3 -- -x
    expect_accepted
}

@test "options are accepted in every spelling, before and after the image" {
    for size in '-m64M' '-m=64M' '-m 64M' '--memory-size=64M' '--memory-size 64MiB'; do
        # shellcheck disable=SC2086 # two words on purpose
        run_uhyve $size no-image --thp -c=2 --no-aslr --ksm --cpu-pm --pit --stats=json
        expect_accepted
    done
}

@test "memory sizes that are malformed, too small or uneven are refused" {
    usage_error "--memory-size: 'lots' is not a memory size" --memory-size lots no-image
    usage_error '-m: 8 MiB is not enough' -m 8M no-image
    usage_error "-m: '17M' is not a multiple of 2 MiB" -m 17M no-image
    usage_error '-m: a value is missing: -m SIZE' no-image -m
    usage_error '-m: a value is missing' -m --thp no-image
}

@test "other bad values are refused" {
    usage_error "-c: '0' is not a number of CPUs" -c 0 no-image
    usage_error "-c: '4x'" -c4x no-image
    usage_error "--accel: 'tcg' is not an accelerator" --accel tcg no-image
    usage_error "--thp: the option takes no value" --thp=yes no-image
    usage_error "-e: 'NAME' is neither" -e NAME no-image
    usage_error "--stats: 'xml'" --stats=xml no-image
    usage_error "-a: '1-x' is not a list of core numbers" -a 1-x no-image
}

@test "arguments that are not UTF-8 are refused" {
    usage_error 'argument 2 is not valid UTF-8' no-image $'\xff'
}

@test "control characters in an argument do not reach the terminal" {
    usage_error "'--\\?\\[31m'" $'--\e[31m' no-image
}

@test "options of later versions are known but not available" {
    for option in --trace-dir; do
        usage_error "${option%%=*} is not available in this version" no-image "$option"
    done
}

@test "affinity: cores must be available and match the number of CPUs" {
    usage_error 'may use the cores [0-9,-]+, but the cores 8190 were requested' -a 8190 no-image
    usage_error '2 cores are needed .*, but 1 was given' -c 2 -a "$(first_core)" no-image
    run_uhyve -c 2 -a "$(first_core),$(first_core)" no-image
    expect_accepted
}

first_core() {
    sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status
}

@test "environment variables are used, the command line is stronger" {
    HERMIT_CPUS=zero usage_error "HERMIT_CPUS: 'zero'" no-image
    HERMIT_MEM=1M usage_error 'HERMIT_MEM: 1 MiB' no-image
    HERMIT_CPUS=zero HERMIT_CPU_COUNT=2 run_uhyve no-image
    expect_accepted
    HERMIT_MEMORY_SIZE=1M usage_error 'HERMIT_MEMORY_SIZE: ' no-image
    HERMIT_MEMORY_SIZE=1M run_uhyve -m 64M no-image
    expect_accepted
    HERMIT_MEMORY_SIZE='' HERMIT_MEM=64M run_uhyve no-image
    expect_accepted
    UHYVE_ACCEL=tcg usage_error "UHYVE_ACCEL: 'tcg'" no-image
    HERMIT_VERBOSE=yes usage_error "HERMIT_VERBOSE: 'yes'" no-image
}

@test "HERMIT_GDB_PORT is checked" {
    HERMIT_GDB_PORT=x usage_error "HERMIT_GDB_PORT: 'x' is neither a port number .* nor the path" no-image
}

@test "uhyve.toml in the current directory is used, the environment is stronger" {
    echo 'memory.memory_size = "1M"' >uhyve.toml
    usage_error 'uhyve\.toml:1: memory_size: 1 MiB is not enough' no-image
    HERMIT_MEM=64M run_uhyve no-image
    expect_accepted
    run_uhyve -m 64M no-image
    expect_accepted
}

@test "only the first configuration file counts" {
    mkdir -p xdg/uhyve
    echo 'cpu.cpu_count = 1001' >xdg/uhyve/uhyve.toml
    export XDG_CONFIG_HOME=$WORK/xdg
    usage_error "uhyve.toml:1: cpu_count: '1001'" no-image
    echo 'cpu.cpu_count = 1002' >uhyve.toml
    usage_error "uhyve.toml:1: cpu_count: '1002'" no-image
    echo 'cpu.cpu_count = 1003' >named
    HERMIT_CONFIG=named usage_error "named:1: cpu_count: '1003'" no-image
    HERMIT_CONFIG=named run_uhyve --config /dev/null no-image
    expect_accepted
}

@test "a configuration file by name must exist and be readable" {
    usage_error "'absent.toml': No such file or directory" --config absent.toml no-image
    HERMIT_CONFIG=absent.toml usage_error "'absent.toml'" no-image
    usage_error "'/': Is a directory" --config / no-image
}

@test "errors in the configuration file name file, line and key" {
    printf '[cpu]\n\ncpu_count = "four"\n' >uhyve.toml
    usage_error 'uhyve\.toml:3: cpu_count must be an integer, not a string$' no-image
    usage_error 'uhyve\.toml:3: ' -c 4 no-image
    printf '[guest]\nenv_vars = ["A=1",\n 2]\n' >uhyve.toml
    usage_error 'uhyve\.toml:3: an entry of env_vars must be a string' no-image
    printf '[cpu]\naffinity = [0, 1\n' >uhyve.toml
    usage_error 'uhyve\.toml:3: ' no-image
    printf '\xff' >uhyve.toml
    usage_error 'uhyve\.toml:1: .*UTF-8' no-image
    head -c 70000 /dev/zero | tr '\0' '\n' >uhyve.toml
    usage_error 'uhyve\.toml: .*larger than 64 KiB' no-image
}

@test "unknown keys lead to no warning" {
    cat >uhyve.toml <<'TOML'
colour = "red"
[uhyve]
net = 5
TOML
    run_uhyve no-image
    expect_status 127
    (($(grep -c warning "$WORK/stderr") == 0))
    echo 'uhyve.tempdir = 7' >uhyve.toml
    usage_error 'uhyve\.toml:1: tempdir must be a string' no-image
}

@test "host variables that are not UTF-8 are left out with a warning" {
    BROKEN=$'\xff' run_uhyve -e host no-image
    expect_status 127
    expect_stderr_line '^uhyve: warning: the host variable BROKEN is not UTF-8'
}

@test "-e host drops other values with a warning" {
    run_uhyve -e A=1 -e host no-image
    expect_status 127
    expect_stderr_line "^uhyve: warning: environment variables besides 'host'"
}

@test "an output file must not exist, and does not stay behind when there is no VM" {
    echo precious >file
    run_uhyve -o file no-image
    expect_status 125
    expect_one_error "'file': File exists \\(remove it"
    [[ $(<file) == precious ]]
    run_uhyve -o new no-image
    expect_accepted
    [[ ! -e new ]]
    run_uhyve -o absent/new no-image
    expect_status 125
    expect_one_error "'absent/new'"
}

@test "-o none makes no file" {
    run_uhyve -o none no-image
    expect_accepted
    [[ ! -e none ]]
}

@test "write errors on standard output are noticed" {
    status=0
    "$UHYVE" --help >&- 2>stderr || status=$?
    expect_status 125
    expect_stderr_line 'standard output: Bad file descriptor'
    status=0
    "$UHYVE" --version >/dev/full 2>stderr || status=$?
    expect_status 125
    expect_stderr_line 'standard output: No space left on device'
}

@test "the exit status tells, even if all standard streams are closed" {
    status=0
    "$UHYVE" --nonsense <&- >&- 2>&- || status=$?
    expect_status 2
    status=0
    "$UHYVE" no-image <&- >&- 2>&- || status=$?
    expect_status 127
}
