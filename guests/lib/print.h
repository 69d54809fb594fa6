/*
 * Formatted output. Conversions: %d %i %u %x %c %s %p %%, with the length modifiers l, ll and z, a
 * width, 0 and -; and a precision for %s. Each call is one hypercall as long as the text is
 * shorter than PRINT_BUFFER_SIZE, so that lines of several CPUs do not mix.
 */
#ifndef GUESTS_LIB_PRINT_H
#define GUESTS_LIB_PRINT_H

#include <stdarg.h>
#include <stddef.h>

#define PRINT_BUFFER_SIZE 512

/* To standard output. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same with the values in a list, as vprintf does; the list is used up. */
void print_values(const char *format, va_list *values);

/* To the serial channel. */
void print_serial(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
