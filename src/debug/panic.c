#include "debug/panic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last place of `word` in the text. */
static const char *find_last(const char *text, const char *word)
{
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, word)); at++)
        last = at;
    return last;
}

static void copy(char *to, size_t capacity, const char *from, size_t size)
{
    snprintf(to, capacity, "%.*s", (int)(size < capacity ? size : capacity), from);
    text_make_printable(to);
}

/* The length of "path.rs:6:5" at the start of `text`, 0 if it is no such thing. */
static size_t location_size(const char *text)
{
    size_t size = strcspn(text, "\n\r");
    size_t digits = 0, colons = 0, end = 0;

    for (size_t i = 0; i < size; i++) {
        if (text[i] == ':' && (colons == 0 || digits)) {
            colons++;
            digits = 0;
        } else if (colons && text[i] >= '0' && text[i] <= '9') {
            digits++;
            if (colons == 2)
                end = i + 1;
        } else if (end) {
            break;
        } else {
            colons = 0;
        }
    }
    return end;
}

/*
 * "panicked at src/main.rs:6:5:\nmessage" since Rust 1.73, before that
 * "panicked at 'message', src/main.rs:6:5".
 */
static void take_panic(struct panic *panic, const char *at)
{
    const char *rest = at + strlen("panicked at ");
    const char *line_end = rest + strcspn(rest, "\n");

    panic->found = true;
    if (*rest == '\'') {
        const char *comma = NULL;
        for (const char *p = rest + 1; (p = strstr(p, "', ")) && p < line_end; p++)
            comma = p;
        if (comma) {
            copy(panic->message, sizeof panic->message, rest + 1, (size_t)(comma - rest - 1));
            copy(panic->location, sizeof panic->location, comma + 3, location_size(comma + 3));
        } else {
            copy(panic->message, sizeof panic->message, rest, (size_t)(line_end - rest));
        }
        return;
    }
    size_t size = location_size(rest);
    copy(panic->location, sizeof panic->location, rest, size);
    rest += size;
    rest += *rest == ':';
    rest += strspn(rest, " \r\n");
    copy(panic->message, sizeof panic->message, rest, strcspn(rest, "\r\n"));
}

/* The hexadecimal number after `name`, within the next hundred characters. */
static bool find_number(const char *text, const char *name, uint64_t *value)
{
    const char *at = strstr(text, name);
    const char *digits = at ? strstr(at, "0x") : NULL;
    char *end;

    if (!digits || digits - at > 100)
        return false;
    *value = strtoull(digits + 2, &end, 16);
    return end != digits + 2;
}

/* "[0][ERROR] Page fault (#PF)!", "General Protection (#GP) Exception: ...": the name with the
 * mnemonic, and registers in the lines that follow. */
static void take_exception(struct panic *panic, const char *text, const char *mnemonic)
{
    const char *start = mnemonic, *end = strchr(mnemonic, ')') + 1;

    while (start > text && start[-1] != '\n' && start[-1] != ']' && start[-1] != ':')
        start--;
    start += strspn(start, " ");
    panic->found = panic->exception = true;
    copy(panic->message, sizeof panic->message, start, (size_t)(end - start));
    panic->has_rip = find_number(end, "instruction_pointer", &panic->rip) &&
                     find_number(end, "stack_pointer", &panic->rsp);
    panic->has_address = find_number(end, "page_fault_linear_address", &panic->address);
}

static const char *find_exception(const char *text)
{
    const char *last = NULL;
    for (const char *at = text; (at = strstr(at, "(#")); at++)
        if (at[2] >= 'A' && at[2] <= 'Z' && at[3] >= 'A' && at[3] <= 'Z' && at[4] == ')')
            last = at;
    return last;
}

void panic_find(struct panic *panic, const char *text, size_t size)
{
    *panic = (struct panic){0};
    if (!size)
        return;
    const char *panicked = find_last(text, "panicked at ");
    const char *exception = find_exception(text);
    if (panicked && (!exception || exception < panicked))
        take_panic(panic, panicked);
    else if (exception)
        take_exception(panic, text, exception);
}

void panic_format(const struct panic *panic, struct text *text)
{
    if (panic->exception) {
        text_printf(text, "the kernel caught an exception: %s", panic->message);
        if (panic->has_address)
            text_printf(text, " at address 0x%llx", (unsigned long long)panic->address);
        return;
    }
    text_add(text, "panic");
    if (panic->location[0])
        text_printf(text, " at %s", panic->location);
    if (panic->message[0])
        text_printf(text, ": %s", panic->message);
}

static bool starts_with_one(const char *name, const char *const *prefixes)
{
    /* <core::option::Option<T> as ...>::unwrap: the type counts. */
    while (*name == '<' || *name == '&')
        name++;
    for (; *prefixes; prefixes++)
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0)
            return true;
    return false;
}

enum panic_role panic_role(const char *function)
{
    static const char *const machinery[] = {
        "core::panicking::",
        "std::panicking::",
        "std::rt::begin_panic",
        "rust_begin_unwind",
        "rust_panic",
        "__rust_start_panic",
        "panic_abort::",
        "panic_unwind::",
        "std::sys_common::backtrace::__rust_end_short",
        "std::sys::backtrace::__rust_end_short",
        "hermit::rt::panic",
        "hermit::panic",
        "hermit::_print",
        "_RNvCsdevi_7___rustc17rust_begin_unwind",
        "__rustc::rust_begin_unwind",
        "__rustc::rust_panic",
        "__rustc::__rust_start_panic",
        NULL,
    };
    static const char *const library[] = {
        "core::", "alloc::", "std::", "hashbrown::", "compiler_builtins::", "__rust", NULL,
    };
    if (starts_with_one(function, machinery))
        return PANIC_MACHINERY;
    return starts_with_one(function, library) ? PANIC_LIBRARY : PANIC_OTHER;
}
