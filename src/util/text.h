/*
 * Small text helpers: a growing buffer, numbers and sizes as people write them, shell quoting.
 */
#ifndef UTIL_TEXT_H
#define UTIL_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Replace control characters (not UTF-8 bytes) by '?', so that a hostile file name cannot drive the
 * terminal. */
void text_make_printable(char *text);

/* Replace all bytes beyond ASCII with '?': of a text that is not UTF-8, for one that is to be. */
void text_make_ascii(char *text);

/* True if the `size` bytes are well-formed UTF-8 (no overlong forms, no surrogates). */
bool text_is_utf8(const char *text, size_t size);

/*
 * A growing string, always terminated once anything was added. Start from {0}; text_free releases
 * it. When memory ran out `failed` is set, further additions do nothing and `data` may be NULL:
 * check once at the end.
 */
struct text {
    char *data;
    size_t size; /* without the terminator */
    size_t capacity;
    bool failed;
};

void text_add(struct text *text, const char *string);
void text_add_bytes(struct text *text, const void *bytes, size_t size);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(struct text *text, const char *format, va_list args);
void text_free(struct text *text);

/*
 * Add `word` so that a POSIX shell's word splitting gives it back: as it is if it has only safe
 * characters, else in single quotes (spec/boot.md section 11.1). An empty word becomes ''.
 */
void text_add_quoted(struct text *text, const char *word, size_t size);

/*
 * Whole-string unsigned decimal number up to `max`. Returns 0, -EINVAL (not a number) or -ERANGE.
 */
int text_parse_unsigned(const char *string, uint64_t max, uint64_t *value);

/*
 * Memory size: a decimal number, which may have a fraction, and an optional unit: none or B for
 * bytes; K, M, G, T with or without B or iB, in either case, for powers of 1024. "KB", "MB" and
 * "GB" mean powers of 1024 here as well (spec/cli.md section 3.1 SAFE). Blanks around are ignored.
 * Returns 0, -EINVAL or -ERANGE.
 */
int text_parse_size(const char *string, uint64_t *bytes);

/* "512 MiB", "1.5 GiB", "64 KiB", "123 bytes" into a caller's buffer of at least 32 bytes; returns
 * it. */
char *text_format_size(char *buffer, size_t size, uint64_t bytes);

#endif
