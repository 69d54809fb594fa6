/*
 * The least that a trap can cost: a privileged instruction of an ordinary program, taken as a
 * signal by a handler that skips it. Prints "COUNT TICKS" like guests/bench-cost.c.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define CR0_READ_SIZE 3 /* mov %cr0, %rax */

static uint8_t signal_stack[1 << 16];

static void skip(int number, siginfo_t *info, void *context)
{
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += CR0_READ_SIZE;
}

int main(int argc, char **argv)
{
    const stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    uint64_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;

    sigfillset(&action.sa_mask);
    if (sigaltstack(&stack, NULL) || sigaction(SIGSEGV, &action, NULL))
        return 1;
    uint64_t start = __builtin_ia32_rdtsc();
    for (uint64_t i = 0; i < count; i++)
        __asm__ volatile("mov %%cr0, %%rax; fnop" : : : "rax");
    printf("%llu %llu\n", (unsigned long long)count,
           (unsigned long long)(__builtin_ia32_rdtsc() - start));
    return 0;
}
