/*
 * A guest that consists of a few instructions, executed in this process: registers from a structure
 * and back, and an engine that emulates what traps. It is what trampolines are held against.
 */
#ifndef PATCH_GUEST_H
#define PATCH_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/plan.h"

#define CODE_SIZE  0x1000
#define AREA_SIZE  0x4000
#define STACK_SIZE 0x1000
#define IF         UINT64_C(0x200)
#define TF         UINT64_C(0x100)
#define RF         UINT64_C(0x10000)
#define ARITHMETIC UINT64_C(0x8D5)
#define STATES_MAX 64

/* Ports: nothing there, writes may wait, and the engine is asked, which answers ANSWER. */
#define PORT_IDLE  0xcf8
#define PORT_QUEUE 0x800
#define PORT_TRAP  0x540
#define ANSWER     0x12345678

struct machine {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rflags, rip;
};

/* What one run of the guest did. */
struct record {
    struct machine end;
    uint64_t interrupts[4]; /* RIP at which they were taken */
    size_t interrupt_count;
    uint32_t interrupt_flag;
    uint64_t outs[4]; /* writes the engine has seen: data, port << 32, size << 48 */
    size_t out_count;
    uint64_t free_write;
    struct trampoline_write writes[TRAMPOLINE_WRITES];
    uint8_t stack[STACK_SIZE];
};

struct patch_guest {
    uint8_t *code, *area;
    struct trampoline_state *state; /* of the vCPU that runs */
    uint64_t *states;
    uint8_t *ports;
    uint8_t *stack;
    struct patch_table *table;
    struct record *record;
    struct machine seen[STATES_MAX]; /* guest states the model went through */
    size_t seen_count;
    long interrupt_at; /* trampoline instruction to interrupt at; -1: none */
    long steps;        /* trampoline instructions executed with TF set */
    bool model;
    bool failed;
};

extern struct patch_guest guest;

struct guest_start {
    uint64_t flags, pushed; /* RFLAGS, and what lies on the stack */
    uint32_t interrupt_flag, pending;
    bool low_stack; /* below the next 64 bytes nothing is mapped */
    unsigned room;  /* for port writes; 0: the list is closed */
};

/* Reads guest memory: a trampoline_read. */
bool guest_read(void *context, uint64_t address, uint64_t *value);

/* Allocate the guest's memory; a cmocka set-up function. */
int guest_set_up(void **state);

/* To be called in each test: cmocka has its own handlers of signals during one. */
void guest_catch_traps(void);

/* Put guest code in place, followed by the way out, and patch it. */
void guest_load(const uint8_t *code, size_t size, enum trampoline_mode mode);

/* Run it once from the same registers for the same state of rand(). */
void guest_run(const struct guest_start *start, struct record *record);

/* The host thread becomes this vCPU, as far as the code can tell. */
void guest_select_vcpu(unsigned vcpu);

#endif
