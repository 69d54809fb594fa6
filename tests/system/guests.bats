#!/usr/bin/env bats
# What a guest sees and can do: the in-tree guests, run by the real program. Each test goes through
# both generations of the interface unless only one has what it is about.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# The guest reported complete test results, none of them bad.
expect_tap() {
    local planned passed
    planned=$(sed -n 's/^1\.\.//p' "$WORK/stdout")
    passed=$(grep -ac '^ok ' "$WORK/stdout")
    if [[ -z $planned || $planned == 0 ]] || ((passed != planned)); then
        echo "expected a complete run without failures: $passed of ${planned:-?} passed"
        return 1
    fi
}

# No line of a file matches. (A plain "! grep" would be ignored by bats.)
expect_no_line() {
    if grep -aE -e "$2" "$WORK/$1"; then
        echo "expected no such line in $1"
        return 1
    fi
}

# Standard output has lines, and all match.
expect_only_lines() {
    [[ -s $WORK/stdout ]] && ! grep -aEv -e "$1" "$WORK/stdout" || {
        echo "expected nothing but lines like: $1"
        return 1
    }
}

# value KEY: what a guest that prints key=value lines said, in $value.
value() {
    value=$(sed -n "s|^$1=||p" "$WORK/stdout")
}

expect_value() {
    value "$1"
    [[ $value == "$2" ]] || {
        echo "expected $1=$2, got '$value'"
        return 1
    }
}

@test "every kind of image boots: relocatable and fixed, with and without ABI tag, interface 1 to 3" {
    for image in v1 v2 if2 legacy exec-v1 exec-v2 exec-legacy; do
        run_uhyve "$(guest hello-$image)"
        expect_status 0
        expect_stdout "Hello from a unikernel."
        expect_no_stderr
    done
}

@test "an image with a newer interface or an older boot protocol is refused" {
    run_uhyve "$(guest hello-if4)"
    expect_status 126
    expect_one_error "hello-if4.*version 4"
    run_uhyve "$(guest hello-entry3)"
    expect_status 126
    expect_one_error "hello-entry3.*version 3"
}

@test "the guest's exit code becomes the exit status" {
    for generation in v1 v2; do
        local image
        image=$(guest exit-code-$generation)
        for code in 0 1 7 255; do
            run_uhyve "$image" -- -- "$code"
            expect_status "$code"
        done
        run_uhyve "$image" -- -- -1
        expect_status 255
        run_uhyve "$image" -- -- 256
        expect_status 0
        expect_no_stdout
        expect_no_stderr
    done
}

@test "arguments and environment arrive unchanged" {
    for generation in v1 v2; do
        run_uhyve -e "A=1 2" -e "B=it's" -e C= "$(guest echo-args-$generation)" -- \
            kernel "a b" -- app "two  words" "" "quote ' \" back \\slash" '$HOME' -x
        expect_status 0
        expect_stdout "$(sed '/^bootargs=/!d' "$WORK/stdout")
kernel[0]=kernel
kernel[1]=a b
app[0]=app
app[1]=two  words
app[2]=
app[3]=quote ' \" back \\slash
app[4]=\$HOME
app[5]=-x
env[0]=A=1 2
env[1]=B=it's
env[2]=C="
    done
}

@test "a guest without ABI tag gets the same by Cmdsize and Cmdval" {
    run_uhyve -e "A=1 2" -e B= "$(guest echo-args-legacy)" -- kernel "a b" -- app "two  words" ""
    expect_status 0
    expect_value image "$(guest echo-args-legacy)"
    expect_value 'kernel\[0\]' kernel
    expect_value 'kernel\[1\]' "a b"
    expect_value 'app\[0\]' app
    expect_value 'app\[1\]' "two  words"
    expect_stdout_line '^app\[2\]=$'
    expect_value 'env\[0\]' "A=1 2"
    expect_value 'env\[1\]' "B="
    # Such kernels crash with fewer variables.
    expect_stdout_line '^env\[3\]='
}

@test "without -e the environment is empty" {
    for generation in v1 v2; do
        run_uhyve "$(guest env-$generation)"
        expect_status 0
        expect_no_stdout
    done
}

@test "a variable that is not set is missing" {
    run_uhyve -e NAME=value "$(guest env-v2)" -- -- NAME
    expect_status 0
    expect_stdout value
    run_uhyve -e NAME=value "$(guest env-v2)" -- -- NAM
    expect_status 1
}

@test "standard input goes through the guest byte by byte, to its end" {
    head -c 100000 /dev/urandom >input
    for generation in v1 v2; do
        run_uhyve "$(guest cat-$generation)" <input
        expect_status 0
        cmp input stdout
        run_uhyve "$(guest cat-$generation)" </dev/null
        expect_status 0
        expect_no_stdout
    done
}

@test "output to descriptors 1 and 2 and the serial channel keeps its order" {
    for generation in v1 v2; do
        run_uhyve -o output "$(guest stderr-$generation)"
        expect_status 0
        expect_no_stdout
        expect_no_stderr
        diff - output <<'END'
1 stdout
2 stderr
3 serial
4 stderr
5 stdout
6 serial
END
        rm output
        run_uhyve "$(guest stderr-$generation)"
        expect_status 0
        expect_stdout "1 stdout
3 serial
5 stdout
6 serial"
        [[ $stderr == "2 stderr
4 stderr" ]]
    done
}

@test "every form of serial output works" {
    run_uhyve "$(guest serial-v1)"
    expect_status 0
    expect_stdout "uart, 8 bits
uart, 32 bits
uart, string
v2 bytes
v2 buffer
v1 buffer
read 0"
    run_uhyve "$(guest serial-v2)"
    expect_status 0
    expect_stdout "uart, 8 bits
uart, 32 bits
uart, string
v2 bytes
v2 buffer
read 0"
}

@test "of the kernel's log only warnings and worse are shown, on standard error" {
    for generation in v1 v2; do
        run_uhyve "$(guest log-$generation)"
        expect_status 0
        expect_stdout "program: first
program: second
stdout: third
program: fourth"
        expect_stderr_line '\[ERROR\] old'
        expect_stderr_line '\[WARN\] old'
        expect_stderr_line 'hermit::mm\] new ERROR$'
        expect_stderr_line 'coloured WARN$'
        expect_stderr_line '^    continued warning$'
        expect_stderr_line '\[PANIC\] the end$'
        expect_no_line stderr 'INFO|DEBUG|TRACE|continued info|in pieces'
    done
}

@test "with -v all of the kernel's log is shown" {
    run_uhyve -v "$(guest log-v2)"
    expect_status 0
    expect_stdout_line '^program: fourth$'
    expect_stderr_line '^\[0\]\[INFO\] in pieces$'
    expect_stderr_line '^    continued info$'
    expect_stderr_line 'new TRACE$'
}

@test "when the guest fails, the withheld log is shown after all" {
    run_uhyve "$(guest log-v2)" -- -- fail
    expect_status 1
    expect_stderr_line '^\[0\]\[INFO\] in pieces$'
}

@test "boot information and device tree describe the machine" {
    for image in v1 v2 legacy exec-v1 exec-v2; do
        run_uhyve -m 64MiB -c 2 "$(guest bootinfo-$image)" -- kernel -- app
        expect_status 0
        value phys_addr_start
        local start=$((16#$value))
        value phys_addr_end
        ((16#$value - start == 64 << 20))
        ((start % (2 << 20) == 0))
        if [[ $image == *v2 ]]; then
            expect_value serial_port_base 1030
            expect_value interface 3
            ((start >= 1 << 32))
        else
            expect_value serial_port_base 800
            expect_value interface 1
            ((start + (64 << 20) <= 3 << 30))
        fi
        expect_value image_start_matches 1
        expect_value image_end_matches 1
        expect_value tls_works 1
        expect_value tls_filesz 4
        expect_value tls_memsz 8
        expect_value tls_align 40
        expect_value platform 1
        expect_value has_pci 0
        expect_value cpu_count 2
        expect_value padding 0
        expect_value /compatible hermit,uhyve
        expect_value "/memory@$(printf %x $start)/reg" "$(printf %016x%016x $start $((64 << 20)))"
        expect_value /cpus/cpu@1/device_type cpu
        expect_no_line stdout '^node=/cpus/cpu@2'
        expect_value /chosen/bootargs "kernel -- app"
        value cpu_khz
        expect_value /hermit,tsc/khz "$(printf %08x $((16#$value)))"
    done
}

@test "the boot time is the time of day" {
    run_uhyve "$(guest bootinfo-v2)"
    expect_status 0
    value boot_time
    local age=$(($(date +%s) - 16#$value / 1000000000))
    ((age >= 0 && age <= UHYVE_TEST_LIMIT))
}

@test "relocatable images are placed at random, unless told otherwise" {
    for generation in v1 v2; do
        local image
        image=$(guest bootinfo-$generation)
        for _ in 1 2 3; do
            run_uhyve "$image"
            value phys_addr_start
            echo "$value" >>starts
        done
        (($(sort -u starts | wc -l) > 1))
        rm starts
        run_uhyve --no-aslr "$image"
        expect_value phys_addr_start "$([[ $generation == v1 ]] && echo 0 || echo 100000000)"
    done
}

# On further CPUs they use what is at address 0.
@test "early images with several CPUs are placed where memory starts at 0" {
    run_uhyve -c 2 "$(guest bootinfo-legacy)"
    expect_status 0
    expect_value phys_addr_start 0
    run_uhyve "$(guest bootinfo-legacy)"
    value phys_addr_start
    [[ $value != 0 ]]
}

@test "images with a fixed address get it" {
    run_uhyve "$(guest bootinfo-exec-v1)"
    expect_value kernel_image_start 800000
    run_uhyve "$(guest bootinfo-exec-v2)"
    expect_value kernel_image_start 100800000
}

@test "memory is there, mapped and zero" {
    for image in v1 v2 legacy; do
        for size in 16MiB 200MiB 3GiB; do
            # 3 GiB is more than interface 1 has room for.
            [[ $image != v2 && $size == 3GiB ]] && size=2GiB
            run_uhyve -m $size "$(guest memory-$image)"
            expect_status 0
            expect_tap
        done
    done
}

@test "CPUID presents the VM" {
    for generation in v1 v2; do
        run_uhyve -c 3 "$(guest cpuid-$generation)"
        expect_status 0
        expect_value brand "uhyve - unikernel hypervisor"
        expect_value hypervisor 1
        expect_value tsc_deadline 1
        expect_value msr 1
        expect_value pmu_version 0
        for cpu in 0 1 2; do
            expect_stdout_line "^cpu=$cpu apic_id=$cpu x2apic_id=$cpu$"
        done
    done
}

@test "all CPUs come up and share memory" {
    for generation in v1 v2; do
        for count in 1 2 5; do
            run_uhyve -c $count "$(guest smp-$generation)"
            expect_status 0
            expect_stdout_line "^cpu $((count - 1)) of $count: apic id $((count - 1))$"
            expect_stdout_line "^$count cpus, counter ${count}000, guarded ${count}000$"
        done
    done
}

@test "any CPU can end the VM" {
    for generation in v1 v2; do
        for cpu in 0 1 3; do
            run_uhyve -c 4 "$(guest smp-$generation)" -- -- exit-from $cpu
            expect_status $((40 + cpu))
        done
    done
}

@test "the timer of the local APIC wakes a halted CPU in time" {
    for generation in v1 v2; do
        run_uhyve "$(guest timer-$generation)"
        expect_status 0
        expect_tap
    done
}

@test "the guest's time is the host's" {
    local begin=${EPOCHREALTIME/[.,]/}
    run_uhyve "$(guest timer-v2)" -- -- 300
    local microseconds=$((${EPOCHREALTIME/[.,]/} - begin))
    expect_status 0
    # Three sleeps. More may be the host's fault; three times as much is not.
    ((microseconds >= 3 * 300000 && microseconds < 9 * 300000))
}

@test "CPUs wake each other by interrupts" {
    for generation in v1 v2; do
        for count in 1 3; do
            run_uhyve -c $count "$(guest ipi-$generation)"
            expect_status 0
            expect_tap
        done
    done
}

@test "vector registers belong to their CPU and survive hypercalls" {
    skip_unless_native_kvm
    skip_if_nested "QEMU does not intercept XSETBV, so KVM does not know that AVX is on"
    for generation in v1 v2; do
        run_uhyve -c 3 "$(guest fpu-$generation)"
        expect_status 0
        expect_tap
    done
}

@test "a crash of the guest is told from an exit, with its cause" {
    local -A causes=(
        [ud2]='invalid opcode'
        [pagefault]='page fault.* 0x123456789000'
        [gp]='general protection fault'
        [nullcall]='page fault.* 0x0,'
        [fetch]='.'
        [triple]='triple fault'
        [stack]='invalid opcode'
    )
    for generation in v1 v2; do
        for way in "${!causes[@]}"; do
            run_uhyve "$(guest crash-$generation)" -- -- "$way"
            expect_status 134
            expect_stdout "crashing: $way"
            expect_stderr_line "${causes[$way]}"
        done
    done
}

@test "the report of a crash names the functions of the call chain" {
    for generation in v1 v2; do
        run_uhyve "$(guest crash-$generation)" -- -- stack
        expect_status 134
        diff - <(grep -aoE '#[0-9].* crash_level_[a-z]*' stderr | sed 's/.* //') <<'END'
crash_level_three
crash_level_two
crash_level_one
END
        expect_stderr_line '#.* main'
    done
}

# A prompt appears although nothing happens after it.
expect_prompt() {
    : >stdout
    "$UHYVE" "$(guest "$1")" -- -- "$2" >stdout 2>stderr 3>&- &
    local vmm=$! seen=
    for _ in $(seq 500); do
        seen=$(<stdout)
        [[ $seen == "name? " ]] && break
        sleep 0.02
    done
    kill "$vmm"
    wait "$vmm" || true
    [[ $seen == "name? " ]] || {
        echo "there is no prompt"
        return 1
    }
}

@test "text on the serial channel is shown while the guest computes or sleeps" {
    for image in prompt-v1 prompt-v2; do
        expect_prompt $image spin
        expect_prompt $image halt
    done
}

@test "SIGTERM and SIGINT end a guest that computes, idles or is halted" {
    for image in spin-forever-v1 hlt-idle-v2 hlt-forever-v2; do
        run_limited timeout --preserve-status -k 5 -s TERM 1 "$UHYVE" -c 2 "$(guest $image)"
        expect_status 143
        run_limited timeout --preserve-status -k 5 -s INT 1 "$UHYVE" "$(guest $image)"
        expect_status 130
    done
}

@test "file calls without any mapped file get the right errors" {
    for image in v1 v2; do
        run_uhyve "$(guest files-empty-$image)" </dev/null
        expect_status 0
        expect_tap
    done
}

@test "hostile calls, ports and page tables get errors or are ignored" {
    for generation in v1 v2; do
        run_uhyve -c 2 "$(guest hostile-$generation)" -- -- all </dev/null
        expect_status 0
        expect_tap
        # Nothing that was to be refused has been printed.
        expect_only_lines '^(ok [0-9]|1\.\.|# )'
    done
}

@test "hostile calls do no more harm without address randomisation" {
    run_uhyve --no-aslr -c 2 "$(guest hostile-v1)" -- -- all </dev/null
    expect_status 0
    expect_tap
}

@test "an exit whose code cannot be read is no success" {
    for generation in v1 v2; do
        run_uhyve "$(guest hostile-$generation)" -- -- exit
        ((status != 0))
    done
}

@test "random hypercalls on two CPUs do not disturb the VM" {
    for generation in v1 v2; do
        run_uhyve -c 2 "$(guest storm-$generation)" -- -- 1 $RANDOM </dev/null
        expect_status 0
        expect_only_lines '^storm: [1-9][0-9]* calls$'
    done
}

@test "the demo shows the machine and counts primes on every CPU" {
    for generation in v1 v2; do
        for count in 1 2 8; do
            run_uhyve -c $count -e COLOUR=blue "$(guest demo-$generation)" -- -- 10000
            expect_status 0
            expect_stdout_line "^  CPUs +$count"
            expect_stdout_line '^  environment COLOUR=blue$'
            expect_stdout_line "^  started +$(date -u +%Y)-"
            expect_stdout_line "^  CPU $((count - 1)) "
            expect_stdout_line '^  all +10000 numbers +1229 primes$'
        done
    done
}

@test "the guests of the benchmarks do what is measured" {
    for generation in v1 v2; do
        run_uhyve "$(guest bench-first-$generation)"
        expect_status 0
        expect_stdout ">"
        run_uhyve "$(guest bench-exit-$generation)"
        expect_status 0
        for direction in in out; do
            run_uhyve "$(guest bench-pio-$generation)" -- -- $direction 1000
            expect_status 0
            expect_stdout "done"
        done
    done
}

@test "the benchmarks' guest finds what it measures" {
    for image in v1 v2; do
        for what in trap patched hypercall fault; do
            run_uhyve "$(guest bench-cost-$image)" -- -- $what 700
            expect_status 0
            expect_stdout_line '^700 [1-9][0-9]*$'
        done
    done
}
