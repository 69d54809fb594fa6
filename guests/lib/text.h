/*
 * Memory blocks and strings. The first four are also what the compiler calls on its own.
 */
#ifndef GUESTS_LIB_TEXT_H
#define GUESTS_LIB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

size_t text_length(const char *text);
bool text_equal(const char *a, const char *b);
bool text_starts_with(const char *text, const char *prefix);

/* First `c` in the text, or NULL. */
const char *text_find(const char *text, char c);

/* A decimal number with optional minus sign and nothing else. False if it is none or too large. */
bool text_to_number(const char *text, int64_t *value);

#endif
