/*
 * What a fuzz target defines: called with one input after the other, by libFuzzer or by driver.c.
 * It returns 0, keeps nothing from call to call, and frees what it allocates.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
