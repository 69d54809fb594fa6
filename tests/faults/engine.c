/*
 * Faults in the engine of the accelerator 'direct': this file is linked into an engine whose
 * system calls ask engine_fault first (syscalls.h), and whose first function and clone are led here
 * by the linker. The memory shared with the driver lies within the engine's own, which is all that
 * its start leaves mapped.
 */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <stdbool.h>

#include "accel/direct/engine/syscalls.h"
#include "control.h"

/* Whole pages: what follows in the last one would be replaced. */
static union {
    struct fault_engine engine;
    uint8_t pages[(sizeof(struct fault_engine) + 4095) & ~UINT64_C(4095)];
} shared __attribute__((aligned(4096)));
static bool ready;

void __real_start(const uint64_t *stack);
void __wrap_start(const uint64_t *stack);
long __real_entry_clone(uint64_t flags, void *stack, int32_t *parent_tid);
long __wrap_entry_clone(uint64_t flags, void *stack, int32_t *parent_tid);

/* Not inlined: the return address tells where the call is. */
__attribute__((noinline)) long engine_fault(long number, uint64_t a, uint64_t b)
{
    uint64_t detail = number == __NR_futex ? b : a;
    struct fault_stream *stream = &shared.engine.stream;

    if (!ready || number == __NR_exit_group || number == __NR_gettid || number == __NR_getpid)
        return 0;
    uint32_t call = __atomic_add_fetch(&stream->count, 1, __ATOMIC_SEQ_CST);
    if (call <= FAULT_ENGINE_RECORDS)
        shared.engine.records[call - 1] = (struct fault_record){
            .site = (uint64_t)__builtin_return_address(0) * 512 + (uint64_t)number,
            .address = (uint64_t)__builtin_return_address(0),
            .function = (uint32_t)number,
            .detail = (int64_t)detail,
        };
    bool again = stream->sticky && __atomic_load_n(&stream->hits, __ATOMIC_SEQ_CST) &&
                 stream->hit_function == (uint32_t)number;
    if (call != stream->at && !again)
        return 0;
    stream->hit_function = (uint32_t)number;
    __atomic_add_fetch(&stream->hits, 1, __ATOMIC_SEQ_CST);
    return -stream->fault;
}

long __wrap_entry_clone(uint64_t flags, void *stack, int32_t *parent_tid)
{
    long fault = engine_fault(__NR_clone, flags, 0);
    return fault ? fault : __real_entry_clone(flags, stack, parent_tid);
}

/* The third word is the descriptor of the shared memory, see start_engine in calls.c. */
void __wrap_start(const uint64_t *stack)
{
    int fd = 0;

    if (stack[0] >= 3) {
        for (const char *digit = (const char *)stack[3]; *digit >= '0' && *digit <= '9'; digit++)
            fd = fd * 10 + (*digit - '0');
        ready = sys_mmap((uint64_t)&shared, sizeof shared, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_FIXED, fd, 0) == (long)(uint64_t)&shared;
    }
    __real_start(stack);
}
