#include "util/text.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"

void text_make_printable(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f)
            *text = '?';
    }
}

void text_make_ascii(char *text)
{
    for (; *text; text++)
        *text = *text & 0x80 ? '?' : *text;
}

/* How many bytes follow `lead` in a sequence, 0 if it starts none; *low and *high are the bounds of
 * the first of them. */
static unsigned utf8_more(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        *low = lead == 0xe0 ? 0xa0 : 0x80;
        *high = lead == 0xed ? 0x9f : 0xbf; /* UTF-16 surrogates */
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        *low = lead == 0xf0 ? 0x90 : 0x80;
        *high = lead == 0xf4 ? 0x8f : 0xbf;
        return 3;
    }
    return 0;
}

bool text_is_utf8(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char low, high;

    //@ loop invariant i <= size; loop assigns i, low, high; loop variant size - i;
    for (size_t i = 0; i < size;) {
        unsigned char lead = bytes[i++];
        if (lead < 0x80)
            continue;
        unsigned more = utf8_more(lead, &low, &high);
        if (!more)
            return false;
        /*@ loop invariant \at(i, LoopEntry) <= i <= size;
            loop assigns i, more, low, high;
            loop variant more; */
        for (; more; more--, i++, low = 0x80, high = 0xbf)
            if (i == size || bytes[i] < low || bytes[i] > high)
                return false;
    }
    return true;
}

static bool text_reserve(struct text *text, size_t more)
{
    size_t need;
    if (text->failed || checked_add(text->size, more, &need) || checked_add(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity)
        return true;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    char *data = realloc(text->data, capacity);
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = capacity;
    return true;
}

void text_add_bytes(struct text *text, const void *bytes, size_t size)
{
    if (!text_reserve(text, size))
        return;
    if (size)
        memcpy(text->data + text->size, bytes, size);
    text->size += size;
    text->data[text->size] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_add_bytes(text, string, strlen(string));
}

void text_vprintf(struct text *text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    if (size >= 0 && text_reserve(text, (size_t)size)) {
        vsnprintf(text->data + text->size, (size_t)size + 1, format, again);
        text->size += (size_t)size;
    }
    va_end(again);
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

static bool is_shell_safe(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("@%+=:,./-_", c));
}

void text_add_quoted(struct text *text, const char *word, size_t size)
{
    size_t safe = 0;
    while (safe < size && is_shell_safe(word[safe]))
        safe++;
    if (size && safe == size) {
        text_add_bytes(text, word, size);
        return;
    }
    text_add(text, "'");
    for (size_t i = 0; i < size; i++) {
        if (word[i] == '\'')
            text_add(text, "'\\''");
        else
            text_add_bytes(text, &word[i], 1);
    }
    text_add(text, "'");
}

int text_parse_unsigned(const char *string, uint64_t max, uint64_t *value)
{
    uint64_t result = 0;
    if (!*string)
        return -EINVAL;
    bool overflow = false;
    for (; *string; string++) {
        if (*string < '0' || *string > '9')
            return -EINVAL;
        overflow = overflow || checked_mul(result, 10, &result) ||
                   checked_add(result, (uint64_t)(*string - '0'), &result);
    }
    if (overflow || result > max)
        return -ERANGE;
    *value = result;
    return 0;
}

/* Power of 1024 that a unit stands for, or -1. */
static int unit_shift(const char *unit, size_t size)
{
    static const char prefixes[] = "kmgtpe";

    if (size == 0 || (size == 1 && (*unit == 'B' || *unit == 'b')))
        return 0;
    char prefix = (char)(*unit | 0x20);
    const char *found = strchr(prefixes, prefix);
    if (!prefix || !found)
        return -1;
    unit++, size--;
    if (size && (*unit == 'i' || *unit == 'I'))
        unit++, size--;
    if (size && (*unit == 'B' || *unit == 'b'))
        unit++, size--;
    return size ? -1 : 10 * (int)(found - prefixes + 1);
}

int text_parse_size(const char *string, uint64_t *bytes)
{
    const char *p = string + strspn(string, " \t");
    uint64_t whole = 0, fraction = 0, scale = 1;
    bool overflow = false;
    size_t digits = strspn(p, "0123456789");
    if (!digits)
        return -EINVAL;
    for (; digits; digits--, p++)
        overflow = overflow || checked_mul(whole, 10, &whole) ||
                   checked_add(whole, (uint64_t)(*p - '0'), &whole);
    if (*p == '.') {
        digits = strspn(++p, "0123456789");
        if (!digits)
            return -EINVAL;
        for (; digits; digits--, p++)
            if (scale < UINT64_C(1000000000)) { /* further digits are below a byte's worth */
                fraction = fraction * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
    }
    p += strspn(p, " \t");
    size_t length = strlen(p);
    while (length && (p[length - 1] == ' ' || p[length - 1] == '\t'))
        length--;
    int shift = unit_shift(p, length);
    if (shift < 0)
        return -EINVAL;
    uint64_t unit = UINT64_C(1) << shift, result;
    if (overflow || checked_mul(whole, unit, &result))
        return -ERANGE;
    /* Less than a unit, for which there is room below the next multiple of one. */
    *bytes = result + (uint64_t)((unsigned __int128)fraction * unit / scale);
    return 0;
}

char *text_format_size(char *buffer, size_t size, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    uint64_t value = bytes, rest = 0;
    while (value >= 1024 && unit < 6) {
        rest = value % 1024;
        value /= 1024;
        unit++;
    }
    if (rest)
        snprintf(buffer, size, "%llu.%llu %s", (unsigned long long)value,
                 (unsigned long long)(rest * 10 / 1024), units[unit]);
    else
        snprintf(buffer, size, "%llu %s", (unsigned long long)value, units[unit]);
    return buffer;
}
