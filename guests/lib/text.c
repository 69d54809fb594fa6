#include "lib/text.h"

/* Plain loops: the build forbids the compiler to turn them into calls of themselves, and an
 * emulating KVM runs them as well as anything else. */

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    for (size_t i = 0; i < size; i++)
        target[i] = source[i];
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    uint8_t *target = to;
    const uint8_t *source = from;
    if (target <= source)
        return memcpy(to, from, size);
    for (size_t i = size; i > 0; i--)
        target[i - 1] = source[i - 1];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    uint8_t *target = to;
    for (size_t i = 0; i < size; i++)
        target[i] = (uint8_t)value;
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a, *right = b;
    for (size_t i = 0; i < size; i++)
        if (left[i] != right[i])
            return left[i] - right[i];
    return 0;
}

size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0')
        length++;
    return length;
}

bool text_equal(const char *a, const char *b)
{
    while (*a == *b && *a != '\0') {
        a++;
        b++;
    }
    return *a == *b;
}

bool text_starts_with(const char *text, const char *prefix)
{
    while (*prefix != '\0')
        if (*text++ != *prefix++)
            return false;
    return true;
}

const char *text_find(const char *text, char c)
{
    for (; *text != '\0'; text++)
        if (*text == c)
            return text;
    return NULL;
}

bool text_to_number(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    if (negative)
        text++;
    if (*text == '\0')
        return false;

    int64_t number = 0;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *text - '0', &number))
            return false;
    }
    *value = negative ? -number : number;
    return true;
}
