#!/usr/bin/env bats
# Core files of guests: --crash-dump, and what gdb sees in them.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# gdb_core IMAGE COMMAND...: what gdb says about the file `core` with this image, in the file `gdb`.
gdb_core() {
    local image=$1 command arguments=()
    shift
    command -v gdb >/dev/null || skip "there is no gdb"
    for command; do
        arguments+=(-ex "$command")
    done
    DEBUGINFOD_URLS='' timeout 60 gdb -nx -batch "${arguments[@]}" "$image" core >gdb 2>&1
    sed 's/^/gdb: /' gdb
}

expect_gdb() {
    grep -Eq -e "$1" gdb || {
        echo "expected from gdb a line like: $1"
        return 1
    }
}

@test "gdb shows where a relocated and a fixed guest crashed" {
    for generation in v1 v2; do
        rm -f core
        run_uhyve --crash-dump core "$(guest crash-$generation)" -- -- stack
        expect_status 134
        gdb_core "$(guest crash-$generation)" bt 'info symbol $rip' 'x/i $rip' 'p crash_data'
        expect_gdb 'Program terminated with signal'
        expect_gdb '#0 .* undefined_instruction|#0 .* crash_level_three'
        expect_gdb '#[0-9] .* crash_level_one'
        expect_gdb '#[0-9] .* main \('
        expect_gdb '=> 0x[0-9a-f]+ <.*>:.*ud2'
        expect_gdb '"\\006\\006\\006\\006"'
    done
}

@test "all CPUs are threads with their registers" {
    run_uhyve --crash-dump core -c 2 "$(guest crash-v2)" -- -- ud2
    expect_status 134
    gdb_core "$(guest crash-v2)" 'info threads' 'thread 1' 'p/x $cs' 'p $_siginfo' 'p/x $rsp'
    (($(grep -Ec '^[* ] +[0-9]+ +(LWP|process|Thread)' gdb) == 2))
    expect_gdb '^\$1 = 0x8$'
}

@test "a panic leaves a core, a good end an empty file" {
    run_uhyve --crash-dump core "$(guest crash-v2)" -- -- panic
    expect_status 255
    gdb_core "$(guest crash-v2)" bt
    expect_gdb '#[0-9] .* rust_begin_unwind'
    rm core
    run_uhyve --crash-dump core "$(guest hello-v2)"
    expect_status 0
    [[ -e core && ! -s core ]]
}

@test "a core is no larger on disk than what the guest has touched" {
    run_uhyve --crash-dump core -m 1G "$(guest crash-v2)" -- -- ud2
    expect_status 134
    (($(stat -c %b core) * 512 < 16 << 20))
}

@test "an existing file and a symbolic link are left alone" {
    echo mine >core
    run_uhyve --crash-dump core "$(guest crash-v2)" -- -- ud2
    expect_status 125
    expect_one_error "cannot create the crash dump file 'core': File exists"
    [[ $(<core) == mine ]]
    rm core
    ln -s elsewhere core
    run_uhyve --crash-dump core "$(guest crash-v2)" -- -- ud2
    expect_status 125
    [[ ! -e elsewhere ]]
}

@test "a full disk is one message, and no half of a core is left" {
    [[ $UHYVE_TEST_ACCEL == kvm ]] || skip "with 'direct' guest memory is a file, too, which the limit of this test concerns"
    ulimit -f 40
    trap '' XFSZ
    run_uhyve --crash-dump core "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_stderr_line '^uhyve: warning: the crash dump could not be written: File too large'
    (($(grep -c 'crash dump' stderr) == 1))
    [[ ! -s core ]]
}
