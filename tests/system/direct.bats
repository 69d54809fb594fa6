#!/usr/bin/env bats
# The accelerator 'direct': guests in their normal builds, with SSE, without KVM; and what its
# process does when guests, users or the host are unkind.

load helpers

setup() {
    common_setup
    require_accel direct
}

# A test that failed half-way leaves no guest behind.
teardown() {
    [[ -z ${vmm:-} ]] || kill -KILL "$vmm" 2>/dev/null || true
}

# direct GUEST ARG...: run a guest with `direct`. Application arguments follow "-- --".
direct() {
    local name=$1
    shift
    run_uhyve "${options[@]}" --accel direct "$GUESTS/$name" "$@"
}

options=()

expect_all_ok() {
    expect_status 0
    if grep -a '^not ok' stdout; then
        return 1
    fi
    expect_stdout_line '^1\.\.[1-9]'
}

# start GUEST: run it in the background until it prints; sets $vmm and $engine.
start() {
    "$UHYVE" "${options[@]}" --accel direct "$GUESTS/$1" >stdout 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 200); do
        engine=$(pgrep -P "$vmm" uhyve-engine) && [[ -s stdout ]] && return
        sleep 0.02
    done
    echo "$1 did not start"
    return 1
}

@test "guests of every generation run" {
    for name in hello-v1 hello-v2 hello-if2 hello-legacy hello-exec-v1 hello-exec-v2; do
        direct "$name"
        expect_status 0
        expect_stdout 'Hello from a unikernel.'
    done
}

@test "memory is as the VMM says, on 1, 2 and 4 CPUs" {
    for count in 1 2 4; do
        options=(-c "$count")
        for name in memory-v1 memory-v2 memory-legacy; do
            direct "$name"
            expect_all_ok
        done
    done
}

@test "timers fire in time and interrupts go between CPUs" {
    for count in 1 2 4; do
        options=(-c "$count")
        for name in timer-v1 timer-v2 ipi-v1 ipi-v2; do
            direct "$name"
            expect_all_ok
        done
    done
}

@test "instructions that are replaced do what they should" {
    for count in 1 2 13; do
        options=(-c "$count")
        for name in sensitive-v1 sensitive-v2 cluster-v1 cluster-v2; do
            direct "$name"
            expect_all_ok
        done
    done
}

@test "exceptions, flags and stacks are as the manuals say" {
    for name in conformance-v1 conformance-v2; do
        direct "$name"
        expect_all_ok
    done
}

@test "the local APIC has registers in memory" {
    for name in xapic-v1 xapic-v2; do
        direct "$name"
        expect_all_ok
    done
}

@test "CPUs share memory and atomics" {
    options=(-c 4)
    direct smp-v2
    expect_status 0
    expect_stdout_line '^4 cpus, counter 4000, guarded 4000$'
}

@test "every CPU is told its own number" {
    options=(-c 3)
    direct cpuid-v2
    expect_status 0
    expect_stdout_line '^cpu=2 apic_id=2 x2apic_id=2$'
}

@test "system calls in guest code are the guest's exceptions" {
    direct takeover-v2 -- -- syscall
    expect_status 6
    direct takeover-v2 -- -- built
    expect_status 6
    direct takeover-v2 -- -- int80
    expect_status 13
}

@test "a guest that uses the engine's own system call instruction gets nowhere" {
    for attempt in open write kill ptrace clone execve socket mprotect window signal prot file; do
        direct takeover-v2 -- -- "$attempt"
        expect_status 134
        expect_no_stdout
        expect_stderr_line 'attempted a system call that it has no use for'
    done
}

@test "the process holds guest memory and its life line, nothing else" {
    start spin-forever-v2
    run ls -l "/proc/$engine/fd"
    kill "$vmm"
    if ((status != 0)); then
        skip "only root may look at the process"
    fi
    [[ $(grep -c -e '->' <<<"$output") == 2 ]]
    grep -F 'memfd:guest-ram' <<<"$output"
    grep -F 'pipe:' <<<"$output"
}

@test "a killed engine ends the VM with the reason" {
    for name in spin-forever-v2 hlt-forever-v2; do
        start "$name"
        kill -KILL "$engine"
        status=0
        wait "$vmm" || status=$?
        expect_status 134
        expect_stderr_line 'process was ended by signal 9'
    done
}

@test "time that both processes were stopped does not count" {
    start spin-forever-v2
    kill -STOP "$engine"
    kill -TERM "$vmm"
    sleep 0.2
    kill -STOP "$vmm"
    sleep 2.2
    kill -CONT "$vmm"
    sleep 0.2
    kill -CONT "$engine"
    status=0
    wait "$vmm" || status=$?
    expect_status 143
}

@test "a killed VMM takes the engine with it" {
    for name in spin-forever-v2 hlt-forever-v2; do
        start "$name"
        kill -KILL "$vmm"
        wait "$vmm" || true
        for _ in $(seq 100); do
            state=$(awk '/^State/ {print $2}' "/proc/$engine/status" 2>/dev/null) || true
            [[ -z $state || $state == Z ]] && break
            sleep 0.02
        done
        [[ -z $state || $state == Z ]]
    done
}

@test "a stop reaches CPUs that compute and CPUs that sleep" {
    options=(-c 2)
    for name in spin-forever-v2 hlt-forever-v2; do
        start "$name"
        kill -TERM "$vmm"
        status=0
        wait "$vmm" || status=$?
        expect_status 143
        [[ ! -d /proc/$engine ]]
    done
}

@test "an ordinary user needs no more than root" {
    ((EUID == 0)) || skip "not root already"
    cp "$UHYVE" "$GUESTS/hello-v1" "$GUESTS/hello-v2" .
    chmod 755 . "$(basename "$UHYVE")" hello-v1 hello-v2
    export TSAN_OPTIONS=exitcode=86 # the list of suppressions may be out of that user's reach
    for name in hello-v1 hello-v2; do
        run_limited setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all \
            "./$(basename "$UHYVE")" --accel direct "./$name"
        expect_status 0
    done
}

@test "crashes are reported with the place" {
    direct crash-v2 -- -- ud2
    expect_status 134
    expect_stderr_line 'undefined_instruction|invalid opcode'
}
