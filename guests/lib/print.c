#include "lib/print.h"

#include <stdbool.h>
#include <stdint.h>

#include "lib/hypercall.h"

struct output {
    void (*write)(const void *buffer, size_t size);
    size_t used;
    char buffer[PRINT_BUFFER_SIZE];
};

/* One conversion between % and its letter. */
struct conversion {
    bool left;
    bool zeros;
    size_t width;
    size_t precision;
    unsigned longs; /* number of l, or 2 for z: sizes are 64 bits wide */
};

static void flush(struct output *output)
{
    if (output->used > 0)
        output->write(output->buffer, output->used);
    output->used = 0;
}

static void put(struct output *output, char c)
{
    if (output->used == sizeof(output->buffer))
        flush(output);
    output->buffer[output->used++] = c;
}

static void put_field(struct output *output, const struct conversion *conversion, const char *text,
                      size_t length)
{
    size_t fill = length < conversion->width ? conversion->width - length : 0;
    if (fill > 0 && conversion->zeros && length > 0 && *text == '-') {
        put(output, '-'); /* the sign goes before the zeros */
        text++;
        length--;
    }
    if (!conversion->left)
        for (size_t i = 0; i < fill; i++)
            put(output, conversion->zeros ? '0' : ' ');
    for (size_t i = 0; i < length; i++)
        put(output, text[i]);
    if (conversion->left)
        for (size_t i = 0; i < fill; i++)
            put(output, ' ');
}

static void put_number(struct output *output, const struct conversion *conversion, uint64_t number,
                       bool negative, unsigned base)
{
    char digits[24];
    size_t first = sizeof(digits);
    do {
        digits[--first] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number != 0);
    if (negative)
        digits[--first] = '-';
    put_field(output, conversion, digits + first, sizeof(digits) - first);
}

static void put_string(struct output *output, const struct conversion *conversion, const char *text)
{
    size_t length = 0;
    while (length < conversion->precision && text[length] != '\0')
        length++;
    put_field(output, conversion, text, length);
}

static const char *parse_number(const char *format, size_t *number)
{
    *number = 0;
    while (*format >= '0' && *format <= '9')
        *number = *number * 10 + (size_t)(*format++ - '0');
    return format;
}

/* Read flags, width, precision and length; returns the position of the letter. */
static const char *parse_conversion(const char *format, struct conversion *conversion)
{
    *conversion = (struct conversion){.precision = SIZE_MAX};
    for (;; format++) {
        if (*format == '-')
            conversion->left = true;
        else if (*format == '0')
            conversion->zeros = true;
        else
            break;
    }
    format = parse_number(format, &conversion->width);
    if (*format == '.')
        format = parse_number(format + 1, &conversion->precision);
    for (;; format++) {
        if (*format == 'l')
            conversion->longs++;
        else if (*format == 'z')
            conversion->longs = 2;
        else
            return format;
    }
}

static void put_values(struct output *output, const char *format, va_list *values)
{
    for (; *format != '\0'; format++) {
        if (*format != '%') {
            put(output, *format);
            continue;
        }
        struct conversion conversion;
        format = parse_conversion(format + 1, &conversion);
        switch (*format) {
        case 'd':
        case 'i': {
            int64_t value = conversion.longs > 0 ? va_arg(*values, int64_t) : va_arg(*values, int);
            uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
            put_number(output, &conversion, magnitude, value < 0, 10);
            break;
        }
        case 'u':
        case 'x': {
            uint64_t value = conversion.longs > 0 ? va_arg(*values, uint64_t)
                                                  : va_arg(*values, unsigned);
            put_number(output, &conversion, value, false, *format == 'x' ? 16 : 10);
            break;
        }
        case 'p':
            put_number(output, &conversion, (uintptr_t)va_arg(*values, void *), false, 16);
            break;
        case 'c': {
            char c = (char)va_arg(*values, int);
            put_field(output, &conversion, &c, 1);
            break;
        }
        case 's':
            put_string(output, &conversion, va_arg(*values, const char *));
            break;
        case '\0':
            return;
        default:
            put(output, *format);
            break;
        }
    }
}

static void write_stdout(const void *buffer, size_t size)
{
    file_write(1, buffer, size);
}

static void print_through(void (*write)(const void *buffer, size_t size), const char *format,
                          va_list *values)
{
    struct output output; /* filled as far as needed: clearing the buffer would cost more */
    output.write = write;
    output.used = 0;
    put_values(&output, format, values);
    flush(&output);
}

void print_values(const char *format, va_list *values)
{
    print_through(write_stdout, format, values);
}

void print(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    print_through(write_stdout, format, &values);
    va_end(values);
}

void print_serial(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    print_through(serial_write, format, &values);
    va_end(values);
}
