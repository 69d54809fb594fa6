#!/usr/bin/env bats
# The call trace: --trace and --trace-file.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# expect_trace REGEX: a line of the trace matches.
expect_trace() {
    expect_stderr_line "^ *[0-9]+\.[0-9]{6} cpu[0-9]+ +$1 <[0-9]+\.[0-9]{9}>\$"
}

@test "the trace shows each call with arguments and results" {
    for generation in v1 v2; do
        run_uhyve --trace "$(guest files-empty-$generation)"
        expect_status 0
        expect_trace 'open\("/nothing", O_RDONLY\) = -1 ENOENT \(No such file or directory\)'
        expect_trace 'close\(77\) = -1 EBADF \(Bad file descriptor\)'
        expect_trace 'exit\(0\) = \?'
    done
    expect_trace 'mkdir\("/nothing/new"\) = .*'
    expect_trace 'stat\("/nothing", NO_FOLLOW, 0x[0-9a-f]+\) = -1 ENOENT .*'
}

@test "written data is shown, escaped and cut" {
    for generation in v1 v2; do
        run_uhyve --trace=write "$(guest hello-$generation)"
        expect_status 0
        expect_stdout "Hello from a unikernel."
        if [[ $generation == v1 ]]; then
            expect_trace 'write\(1, "Hello from a unikernel\.\\n", 24\)'
        else
            expect_trace 'write\(1, "Hello from a unikernel\.\\n", 24\) = 24'
        fi
        (($(wc -l <stderr) == 1))
    done
}

@test "bytes of the serial channel become whole lines" {
    run_uhyve --trace=serial "$(guest serial-v2)"
    expect_status 0
    expect_trace 'serial_byte\(".*" /\* [0-9]+ calls \*/\)'
}

@test "filters select calls, and unknown names are refused" {
    run_uhyve --trace='!file' "$(guest hello-v2)"
    expect_status 0
    (($(wc -l <stderr) == 1))
    expect_trace 'exit\(0\) = \?'
    run_uhyve --trace=opne "$(guest hello-v2)"
    expect_status 2
    expect_one_error "unknown name 'opne'"
}

@test "the trace goes to a file that did not exist" {
    run_uhyve --trace-file trace.txt "$(guest hello-v2)"
    expect_status 0
    expect_no_stderr
    grep -q 'write(1, "Hello from a unikernel\.\\n", 24) = 24' trace.txt
    run_uhyve --trace=write --trace-file trace.txt "$(guest hello-v2)"
    expect_status 125
    expect_one_error "cannot create the trace file 'trace.txt': File exists"
    ln -s target link
    run_uhyve --trace-file link "$(guest hello-v2)"
    expect_status 125
    [[ ! -e target ]]
    run_uhyve --trace-file left.txt missing-image
    expect_status 127
    [[ ! -e left.txt ]]
}

@test "the summary counts calls and errors" {
    run_uhyve --trace=summary "$(guest files-empty-v2)"
    expect_status 0
    expect_stderr_line '^ *[0-9.]+ +[0-9.]+ +[0-9.]+ +[0-9.]+ +10 +8 open$'
    expect_stderr_line ' total$'
    if grep -q 'open(' stderr; then return 1; fi
}

@test "calls of several CPUs are told apart" {
    run_uhyve --trace=write -c 2 "$(guest smp-v2)"
    expect_status 0
    expect_stderr_line '^ *[0-9]+\.[0-9]{6} cpu0 '
    if grep -Ev '^ *[0-9]+\.[0-9]{6} cpu[01] +[a-z_]+\(.*\)( = .*)? <[0-9.]+>$' stderr; then return 1; fi
}

@test "a full disk under the trace is told and does not stop the guest" {
    run_uhyve --trace-file /dev/full "$(guest hello-v2)"
    expect_status 125 # it exists
    run_limited bash -c "exec '$UHYVE' --trace '$(guest hello-v2)' 2>/dev/full"
    expect_status 0
    expect_stdout "Hello from a unikernel."
}
