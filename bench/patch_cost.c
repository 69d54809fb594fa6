/*
 * What a trampoline costs (src/accel/direct/patch): nanoseconds for one pass of a piece of guest
 * code with its sensitive instructions replaced, less an empty loop. Runs the generated code in
 * this process; there is no guest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "accel/direct/patch/plan.h"

#define ROUNDS  200000
#define REPEATS 20
#define SIZE    0x10000

struct piece {
    const char *name;
    uint8_t code[16];
    size_t size;
};

static const struct piece empty = {"", {0x0F, 0x1F, 0x44, 0, 0}, 5};

static const struct piece pieces[] = {
    {"cli", {0xFA, 0x89, 0xC0, 0x89, 0xC0}, 5},
    {"sti", {0xFB, 0x89, 0xC0, 0x89, 0xC0}, 5},
    {"pushfq, pop", {0x9C, 0x58, 0x89, 0xC0, 0x89, 0xC0}, 6},
    {"pushfq, popfq", {0x9C, 0x9D, 0x89, 0xC0, 0x89, 0xC0}, 6},
    {"lock, unlock", {0x9C, 0x58, 0xFA, 0x89, 0xC0, 0xF6, 0xC4, 2, 0x74, 1, 0xFB}, 11},
    {"rdtscp", {0x0F, 0x01, 0xF9, 0x89, 0xC9}, 5},
};

/* Code, trampolines, state and table of states, all executable and writable. */
static uint8_t *memory;

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* loop: piece; dec %rdi; jne loop; ret */
static size_t build_loop(const struct piece *piece)
{
    static const uint8_t count[] = {0x48, 0xFF, 0xCF, 0x0F, 0x85};
    size_t at = piece->size;
    memset(memory, 0xCC, 0x1000);
    memcpy(memory, piece->code, at);
    memcpy(memory + at, count, sizeof count);
    at += sizeof count + 4;
    int32_t back = -(int32_t)at;
    memcpy(memory + at - 4, &back, sizeof back);
    memory[at++] = 0xC3;
    return at;
}

/* Nanoseconds for one round, the best of some attempts. */
static double measure(const struct piece *piece, enum trampoline_mode mode)
{
    struct trampoline_state *state = (struct trampoline_state *)(memory + 0x8000);
    uint64_t *states = (uint64_t *)(memory + 0x9000);
    struct plan_range range = {0, build_loop(piece)};
    struct plan_image image = {memory, 0x1000, (uint64_t)memory, &range, 1, {NULL, 0}};
    struct plan_area area = {
        .target = {mode, mode == TRAMPOLINE_SHARED ? (uint64_t)states : (uint64_t)state},
        .bytes = memory + 0x1000,
        .size = 0x4000,
        .address = (uint64_t)memory + 0x1000};
    struct patch_table *table;
    struct plan_report report;
    struct uhyve_error error;
    double best = 1;
    states[trampoline_selector(0)] = (uint64_t)state;
    *state = (struct trampoline_state){.interrupt_flag = TRAMPOLINE_IF};
    if (plan_make(&image, &area, &table, &report, &error) < 0 || report.replaced != report.sites) {
        fprintf(stderr, "%s: not every instruction was replaced\n", piece->name);
        exit(1);
    }
    __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)trampoline_selector(0)));
    for (int i = 0; i < REPEATS; i++) {
        uint64_t rounds = ROUNDS;
        double start = seconds();
        __asm__ volatile("call *%1"
                         : "+D"(rounds)
                         : "r"(memory)
                         : "rax", "rcx", "rdx", "memory", "cc");
        double time = seconds() - start;
        best = time < best ? time : best;
    }
    free(table);
    return best / ROUNDS * 1e9;
}

int main(void)
{
    memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                  0);
    if (memory == MAP_FAILED) {
        perror("patch_cost: cannot allocate memory for code");
        return 1;
    }
    double base = measure(&empty, TRAMPOLINE_SINGLE);
    printf("%-16s %10s %10s\n", "ns", "one vCPU", "several");
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        printf("%-16s %10.2f %10.2f\n", pieces[i].name,
               measure(&pieces[i], TRAMPOLINE_SINGLE) - base,
               measure(&pieces[i], TRAMPOLINE_SHARED) - base);
    return 0;
}
