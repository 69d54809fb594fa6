#!/usr/bin/env bats
# What is reported about guests that crash or panic.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# crash WAY: run the crash guest of $generation.
crash() {
    run_uhyve "$(guest "crash-$generation")" -- -- "$1"
}

# The registers are known: AMD processors reset the CPU on a triple fault.
has_registers() {
    ! grep -q 'registers are lost' stderr
}

@test "each exception is named, with the instruction and the function" {
    # way, cause, function, instruction
    local ways=(
        'ud2;invalid opcode;undefined_instruction;ud2'
        'divide;divide error;divide;div ecx'
        'int3;(breakpoint|KVM could not emulate);breakpoint;'
        'gp;general protection fault;general_protection;mov rax, \[rax\]'
        'pagefault;page fault.* 0x123456789000, error code 0x0 \(read, not mapped\);page_fault;mov rax, \[rax\]'
        'write;page fault.* 0x123456789000, error code 0x2 \(write, not mapped\);write_unmapped;mov qword ptr \[rax\], 0x01'
    )
    for generation in v1 v2; do
        for line in "${ways[@]}"; do
            IFS=';' read -r way cause function instruction <<<"$line"
            crash "$way"
            expect_status 134
            expect_stderr_line "^uhyve: error: the guest crashed: $cause"
            expect_stderr_line "#0 .* $function\+0x"
            expect_stderr_line ' main\+0x'
            [[ -z $instruction ]] || expect_stderr_line "=> 0x[0-9a-f]+  $instruction"
        done
    done
}

@test "page tables of the address are shown" {
    for generation in v1 v2; do
        crash pagefault
        expect_stderr_line '^page tables for 0x123456789000:'
        expect_stderr_line '^  PML4\[ 36\] 0{16} not present'
    done
    generation=v2
    crash nullread
    expect_status 134
    expect_stderr_line 'page fault.* at address 0x10,'
    expect_stderr_line '^page tables for 0x10:'
}

@test "a call of nothing and a jump into data are told" {
    for generation in v1 v2; do
        crash data
        expect_status 134
        expect_stderr_line '^instructions: none at RIP'
        expect_stderr_line ' main\+0x'
    done
    crash nullcall
    expect_status 134
    expect_stderr_line '^  rip    0000000000000000 \(outside the kernel\)'
    expect_stderr_line ' main\+0x'
}

@test "the reason of a triple fault is told where the processor still knows it" {
    for generation in v1 v2; do
        crash overflow
        expect_status 134
        expect_stderr_line 'the guest crashed: '
        ! has_registers || expect_stderr_line '^nothing is mapped below the stack pointer 0x123456789000: a stack overflow'
        crash triple
        expect_status 134
        expect_stderr_line 'the guest crashed: triple fault'
        ! has_registers || expect_stderr_line '^the interrupt descriptor table is empty'
    done
}

@test "the last hypercalls and the last lines of the log are shown" {
    for generation in v1 v2; do
        crash ud2
        expect_stderr_line '^last hypercalls of vCPU 0'
        expect_stderr_line '^  write\(1, 0x[0-9a-f]+, 14\)'
    done
    crash panic-kernel
    expect_stderr_line "^last lines of the guest's log:"
    expect_stderr_line '^  out of memory$'
    expect_stderr_line '^  exit\(-1\) = \?$'
}

@test "a panic is reported with its function and source" {
    for generation in v1 v2; do
        crash panic
        expect_status 255
        expect_stderr_line '^uhyve: error: the guest ended in error: panic at src/main.rs:6:5: index out of bounds$'
        expect_stderr_line '^panicking function: crash_app::trouble\+0x.* at .*crash\.c:[0-9]+$'
        crash panic-old
        expect_status 255
        expect_stderr_line "ended in error: panic at src/old.rs:12:34: it's over\$"
        expect_stderr_line '^panicking function: crash_app::trouble\+0x'
        crash panic-kernel
        expect_status 255
        expect_stderr_line 'ended in error: panic at src/mm/mod.rs:70:9: out of memory$'
        expect_stderr_line '^panicking function: crash_app::deep::trouble\+0x'
        expect_stderr_line '#[0-9]+ .* core::panicking::panic_fmt\+0x'
    done
}

@test "an exception that the kernel caught is reported where it was" {
    for generation in v1 v2; do
        crash exception
        expect_status 255
        expect_stderr_line 'ended in error: the kernel caught an exception: Page fault \(#PF\) at address 0x123456789000$'
        expect_stderr_line '#0 .* crash_level_two\+0x0'
        expect_stderr_line '^page tables for 0x123456789000:'
    done
}

@test "a panic is found when the output is discarded or goes to a file" {
    generation=v2
    for output in none out; do
        run_uhyve -o $output "$(guest crash-v2)" -- -- panic
        expect_status 255
        expect_stderr_line 'ended in error: panic at src/main.rs:6:5'
    done
}

@test "a guest that fails without a panic has no report" {
    run_uhyve "$(guest exit-code-v2)" -- -- 3
    expect_status 3
    if grep -q 'backtrace\|ended in error' stderr; then return 1; fi
}
