#include "image/lines.h"

#include <stdio.h>
#include <string.h>

#include "image/cursor.h"
#include "image/section.h"
#include "util/text.h"

#define FORMS_MAX  16         /* columns of a table of files */
#define TABLES_MAX (1U << 20) /* bytes of a unit's tables, gone through for each place */

/* Forms of values and contents of columns (DWARF 5, sections 7.5.6 and 7.22). */
enum {
    FORM_BLOCK = 0x09,
    FORM_DATA1 = 0x0b,
    FORM_DATA2 = 0x05,
    FORM_DATA4 = 0x06,
    FORM_DATA8 = 0x07,
    FORM_DATA16 = 0x1e,
    FORM_STRING = 0x08,
    FORM_STRP = 0x0e,
    FORM_LINE_STRP = 0x1f,
    FORM_UDATA = 0x0f,
    CONTENT_PATH = 1,
    CONTENT_DIRECTORY = 2,
};

/* A terminated string; "" if it has no end. */
static const char *take_string(struct cursor *cursor)
{
    const char *string = (const char *)cursor->at;
    const uint8_t *end = memchr(cursor->at, 0, (size_t)(cursor->end - cursor->at));
    if (!end) {
        cursor->bad = true;
        cursor->at = cursor->end;
        return "";
    }
    cursor->at = end + 1;
    return string;
}

struct unit {
    unsigned version;
    bool is_64;
    uint8_t min_length, line_range, opcode_base;
    int8_t line_base;
    const uint8_t *opcode_lengths;
    struct cursor tables; /* directories and files */
    struct cursor program;
    struct image_section strings, line_strings;
};

static const char *string_at(const struct image_section *section, uint64_t offset)
{
    struct cursor cursor;
    if (!section->data || offset >= section->size)
        return "";
    cursor = (struct cursor){section->data + offset, section->data + section->size, false};
    return take_string(&cursor);
}

/* One value of a table of version 5: text, number, or neither. */
static void take_form(const struct unit *unit, struct cursor *cursor, uint64_t form,
                      const char **text, uint64_t *number)
{
    *text = "";
    *number = 0;
    switch (form) {
    case FORM_STRING:
        *text = take_string(cursor);
        break;
    case FORM_STRP:
        *text = string_at(&unit->strings, cursor_take(cursor, unit->is_64 ? 8 : 4));
        break;
    case FORM_LINE_STRP:
        *text = string_at(&unit->line_strings, cursor_take(cursor, unit->is_64 ? 8 : 4));
        break;
    case FORM_UDATA:
        *number = cursor_leb(cursor, false);
        break;
    case FORM_DATA1:
        *number = cursor_take(cursor, 1);
        break;
    case FORM_DATA2:
        *number = cursor_take(cursor, 2);
        break;
    case FORM_DATA4:
        *number = cursor_take(cursor, 4);
        break;
    case FORM_DATA8:
        *number = cursor_take(cursor, 8);
        break;
    case FORM_DATA16:
        cursor_skip(cursor, 16);
        break;
    case FORM_BLOCK:
        cursor_skip(cursor, cursor_leb(cursor, false));
        break;
    default:
        cursor->bad = true;
    }
}

/* Go through a table of version 5; *path and *directory become those of entry `wanted`. */
static void scan_table_5(const struct unit *unit, struct cursor *cursor, uint64_t wanted,
                         const char **path, uint64_t *directory)
{
    uint64_t content[FORMS_MAX], form[FORMS_MAX];
    unsigned columns = (unsigned)cursor_take(cursor, 1);

    for (unsigned i = 0; i < columns && !cursor->bad; i++) {
        if (i == FORMS_MAX) {
            cursor->bad = true;
            return;
        }
        content[i] = cursor_leb(cursor, false);
        form[i] = cursor_leb(cursor, false);
    }
    uint64_t count = cursor_leb(cursor, false);
    for (uint64_t entry = 0; columns && entry < count && !cursor->bad; entry++)
        for (unsigned i = 0; i < columns; i++) {
            const char *text;
            uint64_t number;
            take_form(unit, cursor, form[i], &text, &number);
            if (entry == wanted && content[i] == CONTENT_PATH)
                *path = text;
            else if (entry == wanted && content[i] == CONTENT_DIRECTORY)
                *directory = number;
        }
}

/* Likewise of the versions before, whose entries count from 1. */
static void scan_tables_4(const struct unit *unit, uint64_t wanted, const char **path,
                          const char **directory)
{
    struct cursor cursor = unit->tables;
    uint64_t index = 0;

    for (uint64_t entry = 1; *take_string(&cursor); entry++)
        ;
    for (uint64_t entry = 1; !cursor.bad; entry++) {
        const char *name = take_string(&cursor);
        uint64_t in = cursor_leb(&cursor, false);
        if (!*name)
            return;
        cursor_leb(&cursor, false);
        cursor_leb(&cursor, false);
        if (entry == wanted) {
            *path = name;
            index = in;
            break;
        }
    }
    cursor = unit->tables;
    for (uint64_t entry = 1; index && entry <= index && !cursor.bad; entry++) {
        const char *name = take_string(&cursor);
        if (!*name)
            return;
        if (entry == index)
            *directory = name;
    }
}

/* The end of "directory/name". */
static void resolve(const struct unit *unit, uint64_t file, char to[LINES_FILE])
{
    const char *path = "", *directory = "", *parts[3];
    uint64_t index = 0, none;
    char whole[512];

    if (unit->version < 5) {
        scan_tables_4(unit, file, &path, &directory);
    } else {
        struct cursor cursor = unit->tables;
        const char *ignored;
        scan_table_5(unit, &cursor, UINT64_MAX, &ignored, &none);
        scan_table_5(unit, &cursor, file, &path, &index);
        cursor = unit->tables;
        if (index) /* 0: where it was compiled */
            scan_table_5(unit, &cursor, index, &directory, &none);
    }
    parts[0] = *path == '/' ? "" : directory;
    snprintf(whole, sizeof whole, "%.*s%s%.*s", 250, parts[0], *parts[0] ? "/" : "", 250, path);
    size_t size = strlen(whole);
    if (size < LINES_FILE)
        memcpy(to, whole, size + 1);
    else
        snprintf(to, LINES_FILE, "...%s", whole + size - (LINES_FILE - 4));
    text_make_printable(to);
}

struct row {
    uint64_t address, file;
    uint64_t line;
};

/* The instructions from one row's address to the next one's belong to it. */
static void match(const struct unit *unit, const struct row *from, const struct row *to,
                  struct line_place *places, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!places[i].line && places[i].address >= from->address &&
            places[i].address < to->address && from->line && from->line < UINT32_MAX) {
            places[i].line = (unsigned)from->line;
            resolve(unit, from->file, places[i].file);
        }
}

/* Run a line number program (DWARF 5, section 6.2.5). */
static void run(const struct unit *unit, struct line_place *places, size_t count)
{
    const struct row start = {.file = 1, .line = 1};
    struct row now = start, last = start;
    struct cursor cursor = unit->program;
    bool started = false;

    while (cursor.at < cursor.end && !cursor.bad) {
        uint8_t opcode = (uint8_t)cursor_take(&cursor, 1);
        bool emit = false, end = false;
        if (opcode >= unit->opcode_base) {
            unsigned special = opcode - unit->opcode_base;
            now.address += special / unit->line_range * unit->min_length;
            now.line += (uint64_t)(int64_t)(unit->line_base + (int)(special % unit->line_range));
            emit = true;
        } else if (opcode == 0) {
            uint64_t size = cursor_leb(&cursor, false);
            struct cursor extended = cursor;
            cursor_skip(&cursor, size);
            extended.end = cursor.at;
            uint8_t kind = size ? (uint8_t)cursor_take(&extended, 1) : 0;
            emit = end = kind == 1;
            if (kind == 2)
                now.address = cursor_take(&extended, size == 9 ? 8 : 4);
        } else if (opcode == 1) {
            emit = true;
        } else if (opcode == 2) {
            now.address += cursor_leb(&cursor, false) * unit->min_length;
        } else if (opcode == 3) {
            now.line += cursor_leb(&cursor, true);
        } else if (opcode == 4) {
            now.file = cursor_leb(&cursor, false);
        } else if (opcode == 8) {
            now.address += (255u - unit->opcode_base) / unit->line_range * unit->min_length;
        } else if (opcode == 9) {
            now.address += cursor_take(&cursor, 2);
        } else {
            for (unsigned i = unit->opcode_lengths[opcode - 1]; i; i--)
                cursor_leb(&cursor, false);
        }
        if (!emit)
            continue;
        /* Functions that the linker has dropped seem to be at address 0. */
        if (started && last.address)
            match(unit, &last, &now, places, count);
        last = now;
        started = !end;
        if (end)
            now = start;
    }
}

/* Read the header at the cursor, which goes on to the next unit. False at the end. */
static bool next_unit(struct cursor *cursor, struct unit *unit)
{
    uint64_t length = cursor_take(cursor, 4);

    unit->is_64 = length == UINT32_MAX;
    if (unit->is_64)
        length = cursor_take(cursor, 8);
    struct cursor in = *cursor;
    cursor_skip(cursor, length);
    if (cursor->bad)
        return false;
    in.end = cursor->at;
    unit->version = (unsigned)cursor_take(&in, 2);
    if (unit->version >= 5)
        cursor_skip(&in, 2);
    uint64_t header = cursor_take(&in, unit->is_64 ? 8 : 4);
    unit->program = in;
    cursor_skip(&unit->program, header);
    unit->min_length = (uint8_t)cursor_take(&in, 1);
    if (unit->version >= 4)
        cursor_skip(&in, 1);
    cursor_skip(&in, 1);
    unit->line_base = (int8_t)cursor_take(&in, 1);
    unit->line_range = (uint8_t)cursor_take(&in, 1);
    unit->opcode_base = (uint8_t)cursor_take(&in, 1);
    unit->opcode_lengths = in.at;
    cursor_skip(&in, unit->opcode_base ? unit->opcode_base - 1u : 0);
    unit->tables = in;
    unit->tables.end = unit->program.at;
    if (in.bad || unit->program.bad || unit->tables.at > unit->tables.end || !unit->line_range ||
        !unit->opcode_base || unit->version < 2 || unit->version > 5 ||
        unit->tables.end - unit->tables.at > TABLES_MAX)
        unit->version = 0;
    return true;
}

void lines_find(const void *image, size_t size, struct line_place *places, size_t count)
{
    const struct image_section lines = section_find(image, size, ".debug_line");
    struct unit unit = {
        .strings = section_find(image, size, ".debug_str"),
        .line_strings = section_find(image, size, ".debug_line_str"),
    };

    for (size_t i = 0; i < count; i++)
        places[i].line = 0;
    if (!lines.data || lines.size > SECTION_TABLE_MAX)
        return;
    struct cursor cursor = {lines.data, lines.data + lines.size, false};
    while (cursor.at < cursor.end && next_unit(&cursor, &unit))
        if (unit.version)
            run(&unit, places, count);
}
