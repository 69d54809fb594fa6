/*
 * Vector registers beyond SSE.
 */
#ifndef GUESTS_LIB_VECTOR_H
#define GUESTS_LIB_VECTOR_H

#include <stdbool.h>

enum vector_level {
    VECTOR_SSE2,
    VECTOR_AVX2,
    VECTOR_AVX512, /* AVX-512F */
};

/* Switch on what the level needs on the calling CPU, as a kernel does. False if the CPU does not
 * have it. */
bool vector_enable(enum vector_level level);

#endif
