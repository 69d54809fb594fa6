#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/toml_parser.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Value of a digit up to base 16, or 16 if it is none. */
static unsigned digit_value(char c)
{
    if (is_digit(c))
        return (unsigned)(c - '0');
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? (unsigned)(lower - 'a') + 10 : 16;
}

static void add_code_point(struct text *text, uint32_t code)
{
    char bytes[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = size - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(lead[size] | code);
    text_add_bytes(text, bytes, size);
}

/* \uXXXX or \UXXXXXXXX; the current character is the first digit. */
static int read_unicode_escape(struct toml_parser *parser, unsigned digits)
{
    uint32_t code = 0;

    for (unsigned i = 0; i < digits; i++, parser->p++) {
        unsigned digit = parser->p < parser->end ? digit_value(*parser->p) : 16;
        if (digit == 16)
            return toml_fail(parser, "a \\%c escape needs %u hexadecimal digits",
                             digits == 4 ? 'u' : 'U', digits);
        code = code << 4 | digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return toml_fail(parser, "U+%04X in an escape is not a Unicode character", code);
    add_code_point(&parser->scratch, code);
    return 0;
}

/* A backslash at the end of a line: it and all white space up to the next text are left out. */
static int skip_line_continuation(struct toml_parser *parser)
{
    toml_skip_blanks(parser);
    if (!toml_skip_newline(parser))
        return toml_fail(parser, "a blank after a backslash (only a line break may follow it)");
    do
        toml_skip_blanks(parser);
    while (toml_skip_newline(parser));
    return 0;
}

/* The current character is the backslash. */
static int read_escape(struct toml_parser *parser, bool multiline)
{
    static const char names[] = "btnfr\"\\", values[] = "\b\t\n\f\r\"\\";

    char c = ++parser->p < parser->end ? *parser->p : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (name) {
        parser->p++;
        text_add_bytes(&parser->scratch, &values[name - names], 1);
        return 0;
    }
    if (c == 'u' || c == 'U') {
        parser->p++;
        return read_unicode_escape(parser, c == 'u' ? 4 : 8);
    }
    if (multiline && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
        return skip_line_continuation(parser);
    return toml_fail(parser, "unknown escape in a string (write \\\\ for a backslash, or use a "
                             "string in single quotes)");
}

/*
 * A quote inside a multi-line string. Three of them end it; one or two more just before these are
 * text. Returns true at the end of the string.
 */
static bool read_quotes(struct toml_parser *parser, char quote)
{
    size_t count = 0;

    while (count < 5 && parser->p < parser->end && *parser->p == quote)
        parser->p++, count++;
    size_t text = count >= 3 ? count - 3 : count;
    for (size_t i = 0; i < text; i++)
        text_add_bytes(&parser->scratch, &quote, 1);
    return count >= 3;
}

static int read_string_body(struct toml_parser *parser, char quote, bool multiline)
{
    unsigned start = parser->line;

    while (parser->p < parser->end) {
        char c = *parser->p;
        if (c == quote && !multiline) {
            parser->p++;
            return 0;
        }
        if (c == quote) {
            if (read_quotes(parser, quote))
                return 0;
        } else if (c == '\\' && quote == '"') {
            int err = read_escape(parser, multiline);
            if (err)
                return err;
        } else if (multiline && toml_skip_newline(parser)) {
            text_add(&parser->scratch, "\n");
        } else if (!multiline && (c == '\n' || c == '\r')) {
            break;
        } else if (toml_is_control(c)) {
            return toml_fail(parser, "control character 0x%02x in a string", (unsigned char)c);
        } else {
            parser->p++;
            text_add_bytes(&parser->scratch, &c, 1);
        }
    }
    parser->line = start;
    return toml_fail(parser, "the string has no closing %s", quote == '"' ? "\"" : "'");
}

int toml_read_string(struct toml_parser *parser, bool multiline, const char **data, size_t *size)
{
    char quote = *parser->p++;

    parser->scratch.size = 0;
    multiline = multiline && parser->end - parser->p >= 2 && parser->p[0] == quote &&
                parser->p[1] == quote;
    if (multiline) {
        parser->p += 2;
        toml_skip_newline(parser);
    }
    int err = read_string_body(parser, quote, multiline);
    return err ? err : toml_keep_scratch(parser, data, size);
}

/* Some characters of the document that make up one number or date-time. */
struct token {
    const char *p, *end;
};

static bool token_skip(struct token *token, const char *one_of)
{
    if (token->p == token->end || !strchr(one_of, *token->p))
        return false;
    token->p++;
    return true;
}

/* Exactly `count` digits with a value of low ... high. */
static bool token_number(struct token *token, int count, unsigned low, unsigned high,
                         unsigned *value)
{
    *value = 0;
    for (; count; count--, token->p++) {
        if (token->p == token->end || !is_digit(*token->p))
            return false;
        *value = *value * 10 + (unsigned)(*token->p - '0');
    }
    return *value >= low && *value <= high;
}

static bool token_date(struct token *token)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned year, month, day;

    if (!token_number(token, 4, 0, 9999, &year) || !token_skip(token, "-") ||
        !token_number(token, 2, 1, 12, &month) || !token_skip(token, "-") ||
        !token_number(token, 2, 1, 31, &day))
        return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return day <= days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

/* Second 60 is a leap second (RFC 3339 section 5.6). */
static bool token_time(struct token *token)
{
    unsigned ignored;

    if (!token_number(token, 2, 0, 23, &ignored) || !token_skip(token, ":") ||
        !token_number(token, 2, 0, 59, &ignored) || !token_skip(token, ":") ||
        !token_number(token, 2, 0, 60, &ignored))
        return false;
    if (!token_skip(token, "."))
        return true;
    const char *fraction = token->p;
    while (token->p < token->end && is_digit(*token->p))
        token->p++;
    return token->p > fraction;
}

static bool token_offset(struct token *token)
{
    unsigned ignored;

    return token_skip(token, "Zz") ||
           (token_skip(token, "+-") && token_number(token, 2, 0, 23, &ignored) &&
            token_skip(token, ":") && token_number(token, 2, 0, 59, &ignored));
}

/* A token that looks like one. */
static bool token_date_time(struct token token, enum toml_type *type)
{
    if (token.p[2] == ':') {
        *type = TOML_LOCAL_TIME;
        return token_time(&token) && token.p == token.end;
    }
    *type = TOML_LOCAL_DATE;
    if (!token_date(&token))
        return false;
    if (token.p == token.end)
        return true;
    *type = TOML_LOCAL_DATE_TIME;
    if (!token_skip(&token, "Tt ") || !token_time(&token))
        return false;
    if (token.p == token.end)
        return true;
    *type = TOML_DATE_TIME;
    return token_offset(&token) && token.p == token.end;
}

/* Dates have a - after four digits, times a : after two, and no number has either. */
static bool token_looks_like_date_time(struct token token)
{
    size_t size = (size_t)(token.end - token.p), digits = 0;

    while (digits < size && digits < 4 && is_digit(token.p[digits]))
        digits++;
    if (digits < 2 || digits == size)
        return false;
    return token.p[2] == ':' || (digits == 4 && token.p[4] == '-');
}

/* Digits with single underscores between them, which are left out of `clean`. */
static bool token_digits(struct token *token, struct text *clean)
{
    do {
        const char *start = token->p;
        while (token->p < token->end && is_digit(*token->p))
            token->p++;
        if (token->p == start)
            return false;
        text_add_bytes(clean, start, (size_t)(token->p - start));
    } while (token_skip(token, "_"));
    return true;
}

/* 0x, 0o or 0b and digits; leading zeros are fine here, signs are not. */
static int read_based_integer(struct toml_parser *parser, struct token token, unsigned base,
                              struct toml_value *value)
{
    int64_t result = 0;
    bool after_digit = false, overflow = false;

    for (token.p += 2; token.p < token.end; token.p++) {
        unsigned digit = digit_value(*token.p);
        if (digit < base) {
            overflow = overflow || checked_mul(result, (int64_t)base, &result);
            result |= (int64_t)digit; /* the base is a power of two */
            after_digit = true;
        } else if (*token.p == '_' && after_digit) {
            after_digit = false;
        } else {
            after_digit = false;
            break;
        }
    }
    if (!after_digit)
        return toml_fail(parser, "malformed number");
    if (overflow)
        return toml_fail(parser, "the integer does not fit into 64 bits");
    value->type = TOML_INTEGER;
    value->integer = result;
    return 0;
}

/* The token is not empty. */
static int read_decimal(struct toml_parser *parser, struct token token, struct toml_value *value)
{
    struct text *clean = &parser->scratch;
    bool fractional = false;

    clean->size = 0;
    if (*token.p == '-')
        text_add(clean, "-");
    token_skip(&token, "+-");

    size_t size = (size_t)(token.end - token.p);
    if (size == 3 && (memcmp(token.p, "inf", 3) == 0 || memcmp(token.p, "nan", 3) == 0)) {
        double number = *token.p == 'i' ? (double)INFINITY : (double)NAN;
        value->type = TOML_FLOAT;
        value->number = clean->size ? -number : number;
        return 0;
    }
    if (size > 1 && token.p[0] == '0' && (is_digit(token.p[1]) || token.p[1] == '_'))
        return toml_fail(parser, "a number must not start with 0 (octal numbers start with 0o)");

    bool valid = token_digits(&token, clean);
    if (valid && token_skip(&token, ".")) {
        fractional = true;
        text_add(clean, ".");
        valid = token_digits(&token, clean);
    }
    if (valid && token_skip(&token, "eE")) {
        fractional = true;
        text_add(clean, token.p < token.end && *token.p == '-' ? "e-" : "e");
        token_skip(&token, "+-");
        valid = token_digits(&token, clean);
    }
    if (!valid || token.p != token.end)
        return toml_fail(parser, "malformed value (text must stand in quotes)");
    if (clean->failed)
        return toml_fail_memory(parser);

    errno = 0;
    if (fractional) {
        value->type = TOML_FLOAT;
        value->number = strtod(clean->data, NULL);
        return 0;
    }
    value->type = TOML_INTEGER;
    value->integer = strtoll(clean->data, NULL, 10);
    return errno ? toml_fail(parser, "the integer does not fit into 64 bits") : 0;
}

static bool is_token_character(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("+-_.:", c));
}

/* Take the longest run of token characters; a blank between a date and a time belongs to it. */
static struct token take_token(struct toml_parser *parser)
{
    struct token token = {.p = parser->p, .end = parser->p};

    while (token.end < parser->end && is_token_character(*token.end))
        token.end++;
    if (token.end - token.p == 10 && token.p[4] == '-' && parser->end - token.end > 3 &&
        token.end[0] == ' ' && is_digit(token.end[1]) && is_digit(token.end[2]) &&
        token.end[3] == ':') {
        token.end++;
        while (token.end < parser->end && is_token_character(*token.end))
            token.end++;
    }
    parser->p = token.end;
    return token;
}

static bool token_is(struct token token, const char *word)
{
    size_t size = strlen(word);
    return (size_t)(token.end - token.p) == size && memcmp(token.p, word, size) == 0;
}

int toml_read_scalar(struct toml_parser *parser, struct toml_value *value)
{
    struct token token = take_token(parser);
    size_t size = (size_t)(token.end - token.p);

    if (size == 0)
        return toml_fail(parser, "a value is missing (text must stand in quotes)");
    if (token_is(token, "true") || token_is(token, "false")) {
        value->type = TOML_BOOLEAN;
        value->boolean = *token.p == 't';
        return 0;
    }
    if (token_looks_like_date_time(token)) {
        if (!token_date_time(token, &value->type))
            return toml_fail(parser, "malformed date or time");
        parser->scratch.size = 0;
        text_add_bytes(&parser->scratch, token.p, size);
        return toml_keep_scratch(parser, &value->text.data, &value->text.size);
    }
    if (size > 2 && token.p[0] == '0' && token.p[1] == 'x')
        return read_based_integer(parser, token, 16, value);
    if (size > 2 && token.p[0] == '0' && token.p[1] == 'o')
        return read_based_integer(parser, token, 8, value);
    if (size > 2 && token.p[0] == '0' && token.p[1] == 'b')
        return read_based_integer(parser, token, 2, value);
    return read_decimal(parser, token, value);
}
