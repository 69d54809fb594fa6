/*
 * Two questions decide about a system call. Where was it made? Outside the engine's program it is
 * guest code that executed SYSCALL or INT 80: a signal tells the engine, which gives the guest the
 * exception. Inside, is it one of the calls of syscalls.h with arguments in their range? Else the
 * process ends. A guest can jump to the engine's own SYSCALL instruction, so the second question is
 * what contains it.
 *
 * The program is written as a table of checks, one for each call. Arguments are 64 bits wide and
 * compared in halves; addresses are bounded by their upper half alone, which is why the borders of
 * the engine's window are multiples of 4 GiB.
 */
#include "accel/direct/engine/filter.h"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/seccomp.h>

#include "accel/direct/engine/start.h"
#include "accel/direct/engine/syscalls.h"

#define HIGH(value) ((uint32_t)((uint64_t)(value) >> 32))
#define LOW(value)  ((uint32_t)(value))

#define DATA(field)    ((uint32_t) __builtin_offsetof(struct seccomp_data, field))
#define ARG_LOW(n)     (DATA(args) + 8 * (n))
#define ARG_HIGH(n)    (DATA(args) + 8 * (n) + 4)
#define LOAD(offset)   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
/* Go on with the next instruction if the comparison holds, else `skip` instructions further. */
#define IF_EQUAL(value, skip)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define IF_NOT_ABOVE(value, skip) BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, value, skip, 0)

/* A system call that is allowed whatever its arguments are: 2 instructions. */
#define ALLOW(number) IF_EQUAL(number, 1), RETURN(SECCOMP_RET_ALLOW)

/* Allow exactly this start and size, else go on: 9 instructions. */
#define UNLESS_PIECE(piece)                                                                        \
    LOAD(ARG_HIGH(0)), IF_EQUAL(HIGH((piece)[0]), 7), LOAD(ARG_LOW(0)),                            \
        IF_EQUAL(LOW((piece)[0]), 5), LOAD(ARG_LOW(1)), IF_EQUAL(LOW((piece)[1]), 3),              \
        LOAD(ARG_HIGH(1)), IF_EQUAL(HIGH((piece)[1]), 1), RETURN(SECCOMP_RET_ALLOW)

#define REFUSE RETURN(SECCOMP_RET_KILL_PROCESS)

/* The largest address whose 4 GiB neighbour still ends below DIRECT_GUEST_END. */
#define GUEST_HIGH (HIGH(DIRECT_GUEST_END) - 1)

#define SIZES_OF_ENGINE 0x10000000 /* the program is smaller than this */

long filter_install(int pid)
{
    struct sock_filter program[] = {
        /* 32-bit system calls are the guest's. */
        LOAD(DATA(arch)),
        IF_EQUAL(AUDIT_ARCH_X86_64, 4),
        LOAD(DATA(instruction_pointer) + 4),
        IF_EQUAL(HIGH(DIRECT_ENGINE), 2),
        LOAD(DATA(instruction_pointer)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SIZES_OF_ENGINE, 0, 1),
        RETURN(SECCOMP_RET_TRAP),

        LOAD(DATA(nr)),
        ALLOW(__NR_rt_sigreturn),
        ALLOW(__NR_restart_syscall),
        ALLOW(__NR_sched_yield),
        ALLOW(__NR_exit_group),

        /* arch_prctl: ARCH_SET_GS to ARCH_GET_GS */
        IF_EQUAL(__NR_arch_prctl, 5),
        LOAD(ARG_LOW(0)),
        IF_NOT_ABOVE(ARCH_GET_GS, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ARCH_SET_GS, 0, 1),
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        IF_EQUAL(__NR_futex, 6),
        LOAD(ARG_HIGH(0)),
        IF_EQUAL(HIGH(DIRECT_CONTROL), 3),
        LOAD(ARG_LOW(1)),
        IF_NOT_ABOVE(FUTEX_WAKE, 1), /* FUTEX_WAIT is 0 */
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        IF_EQUAL(__NR_tgkill, 6),
        LOAD(ARG_LOW(0)),
        IF_EQUAL((uint32_t)pid, 3),
        LOAD(ARG_LOW(2)),
        IF_EQUAL(DIRECT_KICK_SIGNAL, 1),
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        ALLOW(__NR_timer_settime),

        IF_EQUAL(__NR_read, 4),
        LOAD(ARG_LOW(0)),
        IF_EQUAL((uint32_t)engine.life_fd, 1),
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        /* munmap: all of the guest's addresses but the trampolines, in two pieces ... */
        IF_EQUAL(__NR_munmap, 24),
        UNLESS_PIECE(engine.flush[0]),
        UNLESS_PIECE(engine.flush[1]),
        /* ... or less than 4 GiB of them */
        LOAD(ARG_HIGH(0)),
        IF_NOT_ABOVE(GUEST_HIGH, 3),
        LOAD(ARG_HIGH(1)),
        IF_EQUAL(0, 1),
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        IF_EQUAL(__NR_mmap, 14),
        LOAD(ARG_HIGH(0)),
        IF_NOT_ABOVE(GUEST_HIGH, 11),
        LOAD(ARG_HIGH(1)),
        IF_EQUAL(0, 9),
        LOAD(ARG_LOW(3)),
        IF_EQUAL(MAP_SHARED | MAP_FIXED, 3),
        LOAD(ARG_LOW(4)),
        IF_EQUAL((uint32_t)engine.ram_fd, 5),
        RETURN(SECCOMP_RET_ALLOW),
        IF_EQUAL(MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 3),
        LOAD(ARG_LOW(2)),
        IF_EQUAL(PROT_READ, 1),
        RETURN(SECCOMP_RET_ALLOW),
        REFUSE,

        REFUSE,
    };
    const struct sock_fprog filter = {sizeof program / sizeof *program, program};
    const uint64_t flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;

    return sys_set_up(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, (uint64_t)&filter, 0);
}
