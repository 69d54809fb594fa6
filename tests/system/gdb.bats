#!/usr/bin/env bats
# Debugging with the real gdb: what its user types, and what comes back. The guest is guests/debug.c.

load helpers

setup() {
    common_setup
    command -v gdb >/dev/null || skip "gdb is not installed"
}

# A test that failed half-way leaves nothing behind.
teardown() {
    [[ -z ${vmm:-} ]] || kill -KILL "$vmm" 2>/dev/null || true
}

# What the accelerator under test can do: a KVM that emulates ring 0 cannot report INT3, and the
# emulated machine of the nested tests has neither breakpoint instructions nor debug registers.
skip_unless_breakpoints() {
    skip_unless_native_kvm
    skip_if_nested "the emulated processor has no breakpoints for guests"
}

skip_unless_hardware_breakpoints() {
    skip_unless_kvm
    skip_if_nested "the emulated processor has no breakpoints for guests"
}

# start GUEST ARG...: run a guest in the background, waiting for gdb; sets $vmm, $image and $port.
# The program's options are in $options.
start() {
    image=$(guest "$1")
    shift
    start_image "$image" "$@"
}

# The same with the path of an image, which $image names.
start_image() {
    shift
    local words=()
    (($# == 0)) || words=(-- -- "$@")
    : >stderr # of the guest before
    timeout -s KILL "$UHYVE_TEST_LIMIT" "$UHYVE" "${options[@]}" -s=0 "$image" "${words[@]}" \
        >stdout 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 200); do
        port=$(sed -n 's/.*GDB connection on port \([0-9]*\).*/\1/p' stderr)
        [[ -z $port ]] || return 0
        sleep 0.02
    done
    echo "uhyve did not start"
    cat stderr
    return 1
}

options=()

# debug COMMAND...: connect gdb to the guest and run these commands; $target is another place than
# the port, and with $no_image gdb is not told the image. The output, in the file `gdb`, is shown
# when the test fails.
debug() {
    local arguments=() command
    [[ -n ${no_image:-} ]] || arguments=("$image")
    for command in "target remote ${target:-127.0.0.1:$port}" "$@"; do
        arguments+=(-ex "$command")
    done
    echo "\$ gdb" "$@"
    timeout -s KILL "$UHYVE_TEST_LIMIT" gdb -nx -batch -iex 'set pagination off' \
        -iex 'set confirm off' -iex 'set style enabled off' "${arguments[@]}" \
        >gdb 2>&1 </dev/null || true
    sed 's/^/gdb: /' gdb
}

# In the list of commands: press Ctrl-C after a second, while the next command waits.
press='shell sh -c "sleep 1; kill -INT $PPID" &'

# The guest has ended: its status, and what it printed.
finish() {
    status=0
    wait "$vmm" || status=$?
    vmm=
    # shellcheck disable=SC2034
    stdout=$(cat stdout) stderr=$(cat stderr)
    echo "status: $status"
    sed 's/^/stdout: /' stdout
    sed 's/^/stderr: /' stderr
}

expect_gdb() {
    grep -Eq -e "$1" gdb || {
        echo "expected of gdb a line like: $1"
        return 1
    }
}

# Wait for such a line.
await() {
    for _ in $(seq 500); do
        ! grep -Eq -e "$1" gdb || return 0
        sleep 0.02
    done
}

@test "break main works without further ado, for every kind of image" {
    skip_unless_breakpoints
    for name in debug-v1 debug-v2 debug-exec-v1 debug-exec-v2; do
        start "$name"
        debug 'break main' continue 'backtrace 1' 'print counters[1]' 'info line main' continue
        finish
        expect_status 0
        expect_gdb '^Breakpoint 1, main \(\) at .*debug\.c:'
        expect_gdb '^#0  main \(\)'
        expect_gdb '^\$1 = 0$'
        expect_gdb 'exited normally'
        expect_stdout $'x is 11\nx is 13, WATCH was 3'
    done
}

@test "gdb finds the image by itself" {
    start debug-v2
    no_image=1 debug 'info symbol $rip' 'info files' kill
    finish
    expect_status 0
    expect_gdb '^_start in section \.text'
    expect_stderr_line '^uhyve: Kill command received'
}

@test "the acceptance script of the specification" {
    skip_unless_breakpoints
    start debug-v2
    debug 'break main' continue 'tbreak locals' continue next 'print x' next 'print x' \
        'set var x = 20' next 'print x' \
        'hbreak hardware_here' continue 'set $rdi = 41' 'stepi 3' 'print argument' finish \
        'watch WATCH' continue 'print WATCH' continue 'print WATCH' \
        'delete' 'awatch WATCH' continue 'info breakpoints' delete \
        'set var x = 13' continue
    finish
    expect_status 0
    expect_gdb '^\$1 = 5$'
    expect_gdb '^\$2 = 10$'
    expect_gdb '^\$3 = 21$'
    expect_gdb '^Breakpoint 3, hardware_here \(argument='
    expect_gdb '^Value returned is \$[0-9]* = '
    expect_gdb '^Hardware watchpoint 4: WATCH'
    expect_gdb '^Old value = 1$'
    expect_gdb '^New value = 2$'
    expect_gdb '^New value = 3$'
    expect_gdb '^Hardware access \(read/write\) watchpoint 5: WATCH'
    expect_gdb 'exited normally'
}

@test "hardware breakpoints, of which there are four" {
    skip_unless_hardware_breakpoints
    start debug-v2
    debug 'hbreak hardware_here' continue 'info registers rdi' 'hbreak twice' 'hbreak main' 'hbreak locals' 'hbreak crash' continue \
        'delete' continue
    finish
    expect_status 0
    expect_gdb '^Breakpoint 1, hardware_here'
    expect_gdb '^rdi +0xb +11$'
    # The fifth does not fit.
    expect_gdb 'Could not insert hardware breakpoint'
    expect_gdb 'exited normally'
}

@test "single steps, of instructions and of lines" {
    start debug-v2
    debug 'display/i $rip' stepi stepi stepi 'info registers rip' 'print $rip != _start' kill
    finish
    expect_status 0
    expect_gdb '^\$1 = 1$'
    (($(grep -c '^1: x/i' gdb) == 3))
}

@test "memory: short reads, writes" {
    skip_unless_breakpoints
    start debug-v2
    debug 'break *twice' continue 'x/2xb &twice' \
        'set var WATCH = 0x1122334455667788' 'x/2xw &WATCH' 'print *(char *)0x123456789000' \
        'set var *(char *)0x123456789000 = 1' 'dump binary memory code &main ((char *)&main)+64' kill
    finish
    expect_gdb 'twice>:.*0x55.*0x48'
    expect_gdb 'WATCH>:.*0x55667788.*0x11223344'
    (($(grep -c 'Cannot access memory at address 0x123456789000' gdb) == 2))
    (($(stat -c %s code) == 64))
}

@test "registers: general, segments, control, vector" {
    skip_unless_breakpoints
    start debug-v2 vector
    debug 'break vector_loaded' continue 'print $xmm9.v2_int64' 'print $st0' 'print $ftag' \
        'print $mxcsr' 'print $cr0 & 1' 'print $efer & 0xc00' 'print $cs' 'print/x $cr3 > 0' \
        'set var $xmm9.v2_int64[1] = 77' 'print $ymm9.v4_int64' 'print $fs_base' continue
    finish
    expect_status 0
    expect_gdb '^\$1 = \{1, 2\}$'
    expect_gdb '^\$2 = 3\.14159265'
    expect_gdb '^\$3 = 4095$'
    expect_gdb '^\$4 = \[ IM DM ZM OM UM PM \]$'
    expect_gdb '^\$5 = 1$'
    expect_gdb '^\$6 = 3072$'
    expect_gdb '^\$7 = 8$'
    ! grep -q avx /proc/cpuinfo || expect_gdb '^\$9 = \{1, 77, 3, 4\}$'
    expect_stdout 'xmm9 is 1 77'
}

@test "the guest's own breakpoint instructions are its own" {
    skip_unless_breakpoints
    start debug-v2 int3
    debug 'break on_breakpoint' continue continue continue
    finish
    expect_status 0
    (($(grep -c '^Breakpoint 1, on_breakpoint' gdb) == 2))
    expect_gdb 'exited normally'
    expect_stdout '2 breakpoints of my own'
}

@test "exit codes are reported" {
    start debug-v2 exit 7
    debug continue
    finish
    expect_status 7
    expect_gdb 'exited with code 07'
}

@test "a crash stops the guest, so that one can look" {
    start debug-v2 crash
    debug continue 'backtrace' 'print $_siginfo' continue
    finish
    expect_status 134
    expect_gdb 'received signal SIGSEGV'
    expect_gdb '^#0 .* crash \(\) at .*debug\.c'
    expect_gdb 'terminated with signal SIGSEGV'
    expect_stderr_line 'the guest crashed: page fault'
}

@test "two CPUs are stopped together, and stepped one by one" {
    options=(-c 2)
    start debug-v2 cpus
    debug "$press" continue 'info threads' 'thread 2' \
        'set scheduler-locking on' 'set $first = counters[0]' 'set $second = counters[1]' \
        'stepi 40' 'print counters[0] - $first' 'print counters[1] > $second' 'thread 1' \
        'set $second = counters[1]' 'stepi 40' 'print counters[1] - $second' \
        'print counters[0] > $first' 'set scheduler-locking off' 'set var finish = 1' continue
    finish
    expect_status 0
    expect_gdb 'received signal SIGINT'
    expect_gdb 'Thread 1\.1 "CPU 0"'
    expect_gdb 'Thread 1\.2 "CPU 1"'
    expect_gdb '^\$1 = 0$'
    expect_gdb '^\$2 = 1$'
    expect_gdb '^\$3 = 0$'
    expect_gdb '^\$4 = 1$'
    expect_stdout $'2 cpus\nfinished'
}

@test "a breakpoint in code of both CPUs" {
    skip_unless_breakpoints
    options=(-c 2)
    start debug-v2 both
    debug 'break count_visit thread 2' 'continue' 'continue' 'info threads' 'delete' \
        'break count_visit' 'continue' 'continue' 'continue' 'continue' 'delete' \
        'set var finish = 1' continue
    finish
    expect_status 0
    (($(grep -c 'Breakpoint 1, count_visit (cpu=1)' gdb) == 2))
    (($(grep -c 'Breakpoint 2, count_visit' gdb) == 4))
    expect_stdout $'2 cpus\nfinished'
}

@test "a client leaves, the guest runs on, and the next one finds it" {
    options=(-c 2)
    start debug-v2 cpus
    debug "$press" continue 'print counters[0] > 0' detach
    expect_gdb '^\$1 = 1$'
    debug 'set $before = counters[1]' "$press" continue 'print counters[1] > $before' \
        'disconnect'
    expect_gdb '^\$1 = 1$'
    debug 'info threads' 'set var finish = 1' 'detach'
    finish
    expect_status 0
    expect_stdout $'2 cpus\nfinished'
}

@test "a lost connection lets the guest run on" {
    skip_unless_breakpoints
    start debug-v2
    debug 'break hardware_here' continue 'shell kill -KILL $PPID'
    finish
    expect_status 0
    expect_stdout $'x is 11\nx is 13, WATCH was 3'
}

@test "a sleeping guest can be interrupted and killed" {
    start debug-v2 sleep
    debug "$press" continue 'backtrace' 'info threads' kill
    finish
    expect_status 0
    expect_gdb 'received signal SIGINT'
    expect_gdb 'wait_for_nothing'
    expect_stderr_line '^uhyve: Kill command received'
}

@test "a guest that waits for input can be stopped" {
    mkfifo input
    image=$(guest cat-v2)
    timeout -s KILL "$UHYVE_TEST_LIMIT" "$UHYVE" -s=./debugger "$image" <>input \
        >stdout 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 200); do
        [[ ! -S debugger ]] || break
        sleep 0.02
    done
    [[ $(stat -c %a debugger) == 600 ]]
    target=./debugger debug "$press" continue 'backtrace' 'print $rip != 0' \
        'shell echo through >input' "$press" continue kill
    expect_gdb '^\$1 = 1$'
    finish
    expect_status 0
    expect_stdout through
    # What is left of it is in nobody's way.
    timeout -s KILL "$UHYVE_TEST_LIMIT" "$UHYVE" -s=./debugger "$image" <>input \
        >stdout 2>stderr 3>&- &
    vmm=$!
    until grep -q Waiting stderr; do sleep 0.02; done
    target=./debugger debug kill
    finish
    expect_status 0
}

@test "monitor commands" {
    start debug-v2
    debug 'monitor help' 'monitor info' 'monitor regs' 'monitor walk 0' 'monitor stats' kill
    finish
    expect_gdb '^monitor walk ADDR'
    expect_gdb '^accelerator: '
    expect_gdb '^  efer   '
    expect_gdb '^  PML4\[  0\]'
}

@test "SIGTERM ends a guest that is stopped by a debugger" {
    start debug-v2
    debug "shell kill -TERM $(pgrep -P "$vmm" -x uhyve || echo "$vmm")" 'shell sleep 0.2' stepi
    finish
    expect_status 143
}

@test "a second client is turned away" {
    start debug-v2
    debug "shell gdb -nx -batch -ex 'target remote 127.0.0.1:$port' >second 2>&1 </dev/null" kill
    finish
    cat second
    ! grep -q 'Thread\|0x' second || return 1
    expect_stderr_line 'a second debugger was turned away'
}

@test "GDB's machine interface, which VS Code uses" {
    skip_unless_breakpoints
    options=(-c 2)
    start debug-v2 both
    : >gdb
    {
        printf '%s\n' '1-gdb-set mi-async on' "2-file-exec-and-symbols $image" \
            "3-target-select remote 127.0.0.1:$port" '4-break-insert -f main' '5-exec-continue'
        await '^\*stopped,reason="breakpoint-hit"'
        printf '%s\n' '6-stack-list-frames' '7-exec-next'
        await '^\*stopped,reason="end-stepping-range"'
        echo 8-exec-continue
        await '^8\^running'
        sleep 0.3
        echo 9-exec-interrupt
        await '^\*stopped,reason="signal-received"'
        printf '%s\n' 10-thread-info '11-data-evaluate-expression visits>0' \
            '12-gdb-set var finish=1' 13-exec-continue
        await '^\*stopped,reason="exited'
        echo 14-gdb-exit
    } | timeout -s KILL "$UHYVE_TEST_LIMIT" gdb -nx --interpreter=mi >gdb 2>&1
    sed 's/^/gdb: /' gdb
    finish
    expect_status 0
    expect_gdb '^\*stopped,reason="breakpoint-hit".*func="main"'
    expect_gdb '^6\^done,stack=\[frame=\{level="0".*func="main"'
    expect_gdb '^\*stopped,reason="end-stepping-range"'
    expect_gdb '^\*stopped,reason="signal-received",signal-name="SIGINT"'
    expect_gdb '^10\^done,threads=\[.*name="CPU 1"'
    expect_gdb '^11\^done,value="1"'
    expect_gdb '^\*stopped,reason="exited-normally"'
}

@test "lldb" {
    skip_unless_breakpoints
    command -v lldb >/dev/null || skip "lldb is not installed"
    start debug-v2
    timeout -s KILL "$UHYVE_TEST_LIMIT" lldb --no-lldbinit -b -o "target create $image" \
        -o "gdb-remote 127.0.0.1:$port" -o 'breakpoint set -n twice' -o continue -o bt \
        -o 'frame variable' -o 'thread step-over' -o 'watchpoint set variable WATCH' -o continue \
        -o 'watchpoint delete 1' -o continue >gdb 2>&1 </dev/null
    sed 's/^/lldb: /' gdb
    finish
    expect_status 0
    expect_gdb 'stop reason = breakpoint 1\.1'
    expect_gdb 'locals at debug\.c'
    expect_gdb '^\(int\) number = 5'
    expect_gdb 'stop reason = step over'
    expect_gdb '^new value: 2'
    expect_gdb 'exited with status = 0'
}

@test "a real kernel" {
    skip_unless_breakpoints
    image rusty_demo
    options=(-e A=1 -e B=2 -e C=3 -e D=4 -e E=5)
    start_image "$image"
    debug 'break main' continue 'stepi' 'print $fs_base != 0' 'watch *(long *)$sp' continue \
        'info threads' kill
    finish
    expect_status 0
    expect_gdb '^Breakpoint 1, 0x[0-9a-f]+ in main \(\)'
    expect_gdb '^\$1 = 1$'
    expect_gdb '^New value = '
}

@test "messages, and ports that cannot be used" {
    start debug-v2
    expect_stderr_line '^uhyve: Waiting for a local GDB connection on port [0-9]+\.\.\.$'
    run_limited "$UHYVE" -s="$port" "$image"
    expect_status 125
    expect_one_error "cannot wait for a debugger on port $port .*: Address already in use"
    run_limited "$UHYVE" -s=/nonexistent/socket "$image"
    expect_status 125
    expect_one_error "cannot wait for a debugger on the socket '/nonexistent/socket': No such file"
    port=$port debug kill
}

# wait_on_socket NAME: start a guest that waits for gdb on the socket; its messages go to NAME.
wait_on_socket() {
    : >"$1"
    "$UHYVE" -s="$WORK/socket" "$image" >"$1.out" 2>"$1" 3>&- &
    vmm=$!
    for _ in $(seq 200); do
        ! grep -q 'GDB connection' "$1" || return 0
        sleep 0.02
    done
    cat "$1"
    return 1
}

@test "a socket in use is left alone, one of a program that died is replaced" {
    image=$(guest hello-v2)
    wait_on_socket first
    run_limited "$UHYVE" -s="$WORK/socket" "$image"
    expect_status 125
    expect_one_error "cannot wait for a debugger on the socket .*: Address already in use"
    # Had it noticed a connection, it would end with that.
    sleep 0.2
    kill -0 "$vmm"
    if grep 'Debugger' first; then
        return 1
    fi
    kill -KILL "$vmm"
    wait "$vmm" || true
    wait_on_socket second
}
