/*
 * The registers of an x86_64 vCPU as text for people.
 */
#ifndef DEBUG_REGISTERS_H
#define DEBUG_REGISTERS_H

#include "arch/x86_64/state.h"
#include "util/text.h"

/* Add RFLAGS, the general, control and segment registers and the descriptor tables, several lines,
 * flags spelled out. RIP is left to the caller, who can name it. */
void registers_format(const struct x86_state *state, struct text *text);

#endif
