#include "image/unwind.h"

#include <string.h>

#include "image/cursor.h"

#define STATES_MAX       8 /* DW_CFA_remember_state within each other */
#define AUGMENTATION_MAX 8 /* letters */

/* Encodings of pointers in .eh_frame. */
#define PE_FORMAT   0x0f
#define PE_RELATIVE 0x70
#define PE_PCREL    0x10

static uint64_t take_unsigned(struct cursor *cursor)
{
    return cursor_leb(cursor, false);
}

static int64_t take_signed(struct cursor *cursor)
{
    return (int64_t)cursor_leb(cursor, true);
}

/* What a function's entry needs of the common one. */
struct common {
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding;
    bool has_augmentation;
    struct cursor program;
};

struct entry {
    struct common common;
    uint64_t start, size; /* of the function */
    struct cursor program;
};

/* A pointer of `encoding`; `address` is that of its first byte. Sets `bad` for unusual encodings.
 */
static uint64_t take_pointer(struct cursor *cursor, uint8_t encoding, uint64_t address)
{
    uint64_t value;

    switch (encoding & PE_FORMAT) {
    case 0x0: /* absolute */
    case 0x4:
    case 0xc:
        value = cursor_take(cursor, 8);
        break;
    case 0x2:
        value = cursor_take(cursor, 2);
        break;
    case 0x3:
        value = cursor_take(cursor, 4);
        break;
    case 0xa:
        value = (uint64_t)(int64_t)(int16_t)cursor_take(cursor, 2);
        break;
    case 0xb:
        value = (uint64_t)(int64_t)(int32_t)cursor_take(cursor, 4);
        break;
    default:
        cursor->bad = true;
        return 0;
    }
    if ((encoding & PE_RELATIVE) == PE_PCREL)
        value += address;
    else if (encoding & (PE_RELATIVE | 0x80))
        cursor->bad = true;
    return value;
}

/* The contents of the entry at `offset` and what follows: false at the end. *id is its second word
 * and *id_offset where that is. */
static bool open_entry(const struct image_section *section, size_t offset, struct cursor *content,
                       uint64_t *id, size_t *id_offset, size_t *next)
{
    struct cursor cursor = {section->data + offset, section->data + section->size, false};
    uint64_t length = cursor_take(&cursor, 4);
    bool is_64 = length == UINT32_MAX;

    if (is_64)
        length = cursor_take(&cursor, 8);
    if (cursor.bad || length < 4 || length > (uint64_t)(cursor.end - cursor.at))
        return false;
    *next = (size_t)(cursor.at - section->data) + (size_t)length;
    cursor.end = cursor.at + length;
    *id_offset = (size_t)(cursor.at - section->data);
    *id = cursor_take(&cursor, is_64 ? 8 : 4);
    if (is_64 && *id == UINT64_MAX)
        *id = UINT32_MAX;
    *content = cursor;
    return !cursor.bad;
}

/* What compilers have added to the format, a letter each. It is read with each function's entry, so
 * that longer strings would make a search take as long as it likes. */
static const char *take_augmentation(struct cursor *cursor)
{
    const char *text = (const char *)cursor->at;
    size_t size = 0;

    while (!cursor->bad && cursor_take(cursor, 1))
        if (++size > AUGMENTATION_MAX)
            cursor->bad = true;
    return text;
}

static bool read_common(const struct image_section *section, bool is_eh, size_t offset,
                        struct common *common)
{
    struct cursor cursor;
    uint64_t id;
    size_t id_offset, next;

    if (offset >= section->size || !open_entry(section, offset, &cursor, &id, &id_offset, &next) ||
        id != (is_eh ? 0 : UINT32_MAX))
        return false;
    uint8_t version = (uint8_t)cursor_take(&cursor, 1);
    const char *augmentation = take_augmentation(&cursor);
    if (cursor.bad || (version != 1 && version != 3 && version != 4))
        return false;
    if (version == 4)
        cursor_skip(&cursor, 2); /* sizes of addresses and segments */
    *common = (struct common){.code_align = take_unsigned(&cursor)};
    common->data_align = take_signed(&cursor);
    if (version == 1)
        cursor_skip(&cursor, 1); /* the column of the return address */
    else
        take_unsigned(&cursor);
    if (*augmentation == 'z') {
        uint64_t size = take_unsigned(&cursor);
        struct cursor data = cursor;
        cursor_skip(&cursor, size);
        data.end = cursor.at;
        common->has_augmentation = true;
        for (const char *c = augmentation + 1; *c; c++) {
            if (*c == 'R')
                common->encoding = (uint8_t)cursor_take(&data, 1);
            else if (*c == 'L')
                cursor_skip(&data, 1);
            else if (*c == 'P')
                take_pointer(&data, (uint8_t)cursor_take(&data, 1) & PE_FORMAT, 0);
            else if (*c != 'S')
                return false;
        }
        cursor.bad |= data.bad;
    } else if (*augmentation) {
        return false;
    }
    common->program = cursor;
    return !cursor.bad;
}

/* The entry of the function that has `pc`. */
static bool find_entry(const struct image_section *section, bool is_eh, uint64_t pc,
                       struct entry *entry)
{
    struct cursor cursor;
    uint64_t id;
    size_t id_offset, next;

    for (size_t offset = 0; section->data && offset < section->size; offset = next) {
        if (!open_entry(section, offset, &cursor, &id, &id_offset, &next))
            return false;
        if (id == (is_eh ? 0 : UINT32_MAX))
            continue;
        size_t common_at = is_eh ? id_offset - (size_t)id : (size_t)id;
        if ((is_eh && id > id_offset) || !read_common(section, is_eh, common_at, &entry->common))
            continue;
        uint8_t encoding = is_eh ? entry->common.encoding : 0;
        uint64_t address = section->address + (uint64_t)(cursor.at - section->data);
        entry->start = take_pointer(&cursor, encoding, address);
        entry->size = take_pointer(&cursor, encoding & PE_FORMAT, 0);
        if (entry->common.has_augmentation)
            cursor_skip(&cursor, take_unsigned(&cursor));
        if (cursor.bad || pc < entry->start || pc - entry->start >= entry->size)
            continue;
        entry->program = cursor;
        return true;
    }
    return false;
}

enum rule_kind {
    RULE_SAME,
    RULE_UNDEFINED,
    RULE_OFFSET,   /* saved at CFA + value */
    RULE_VALUE,    /* is CFA + value */
    RULE_REGISTER, /* is in register `value` */
};

struct rules {
    struct {
        uint8_t kind;
        int64_t value;
    } column[UNWIND_COLUMNS];
    uint64_t cfa_register;
    int64_t cfa_offset;
    bool cfa_known;
};

struct machine {
    struct rules now, initial, saved[STATES_MAX];
    unsigned depth;
    const struct common *common;
    uint64_t at, pc; /* the rules are those of address `at`; those of `pc` are wanted */
};

static void set(struct machine *machine, uint64_t column, enum rule_kind kind, int64_t value)
{
    if (column < UNWIND_COLUMNS) {
        machine->now.column[column].kind = (uint8_t)kind;
        machine->now.column[column].value = value;
    }
}

static void set_cfa(struct machine *machine, uint64_t column, int64_t offset)
{
    machine->now.cfa_register = column;
    machine->now.cfa_offset = offset;
    machine->now.cfa_known = column < UNWIND_COLUMNS;
}

/* The instructions with an opcode of their own. False if one is unknown. */
static bool extended(struct machine *machine, struct cursor *cursor, uint8_t opcode)
{
    const int64_t align = machine->common->data_align;
    uint64_t column;

    switch (opcode) {
    case 0x00: /* nop */
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        machine->at += cursor_take(cursor, (size_t)1 << (opcode - 2)) * machine->common->code_align;
        return true;
    case 0x05: /* offset_extended */
        column = take_unsigned(cursor);
        set(machine, column, RULE_OFFSET, (int64_t)(take_unsigned(cursor) * (uint64_t)align));
        return true;
    case 0x11: /* offset_extended_sf */
        column = take_unsigned(cursor);
        set(machine, column, RULE_OFFSET,
            (int64_t)((uint64_t)take_signed(cursor) * (uint64_t)align));
        return true;
    case 0x14: /* val_offset */
        column = take_unsigned(cursor);
        set(machine, column, RULE_VALUE, (int64_t)(take_unsigned(cursor) * (uint64_t)align));
        return true;
    case 0x06: /* restore_extended */
        column = take_unsigned(cursor);
        if (column < UNWIND_COLUMNS)
            machine->now.column[column] = machine->initial.column[column];
        return true;
    case 0x07: /* undefined */
        set(machine, take_unsigned(cursor), RULE_UNDEFINED, 0);
        return true;
    case 0x08: /* same_value */
        set(machine, take_unsigned(cursor), RULE_SAME, 0);
        return true;
    case 0x09: /* register */
        column = take_unsigned(cursor);
        set(machine, column, RULE_REGISTER, (int64_t)take_unsigned(cursor));
        return true;
    case 0x0a: /* remember_state */
        if (machine->depth == STATES_MAX)
            return false;
        machine->saved[machine->depth++] = machine->now;
        return true;
    case 0x0b: /* restore_state */
        if (!machine->depth)
            return false;
        machine->now = machine->saved[--machine->depth];
        return true;
    case 0x0c: /* def_cfa */
        column = take_unsigned(cursor);
        set_cfa(machine, column, (int64_t)take_unsigned(cursor));
        return true;
    case 0x12: /* def_cfa_sf */
        column = take_unsigned(cursor);
        set_cfa(machine, column, (int64_t)((uint64_t)take_signed(cursor) * (uint64_t)align));
        return true;
    case 0x0d: /* def_cfa_register */
        set_cfa(machine, take_unsigned(cursor), machine->now.cfa_offset);
        return true;
    case 0x0e: /* def_cfa_offset */
        set_cfa(machine, machine->now.cfa_register, (int64_t)take_unsigned(cursor));
        return true;
    case 0x0f: /* def_cfa_expression: expressions are not evaluated */
        machine->now.cfa_known = false;
        cursor_skip(cursor, take_unsigned(cursor));
        return true;
    case 0x10: /* expression, val_expression */
    case 0x16:
        set(machine, take_unsigned(cursor), RULE_UNDEFINED, 0);
        cursor_skip(cursor, take_unsigned(cursor));
        return true;
    case 0x2e: /* GNU_args_size */
        take_unsigned(cursor);
        return true;
    default:
        return false;
    }
}

/* Run a program until the rules of `pc` are there. False if it makes no sense. */
static bool run(struct machine *machine, struct cursor cursor)
{
    while (cursor.at < cursor.end && machine->at <= machine->pc) {
        uint8_t byte = (uint8_t)cursor_take(&cursor, 1), low = byte & 0x3f;
        switch (byte >> 6) {
        case 1: /* advance_loc */
            machine->at += low * machine->common->code_align;
            break;
        case 2: /* offset */
            set(machine, low, RULE_OFFSET,
                (int64_t)(take_unsigned(&cursor) * (uint64_t)machine->common->data_align));
            break;
        case 3: /* restore */
            if (low < UNWIND_COLUMNS)
                machine->now.column[low] = machine->initial.column[low];
            break;
        default:
            if (!extended(machine, &cursor, low))
                return false;
        }
        if (cursor.bad)
            return false;
    }
    return true;
}

static bool apply(const struct rules *rules, struct unwind_registers *registers,
                  bool (*read)(void *context, uint64_t address, uint64_t *word), void *context)
{
    struct unwind_registers caller = {0};

    if (!rules->cfa_known || !(registers->known >> rules->cfa_register & 1))
        return false;
    uint64_t cfa = registers->value[rules->cfa_register] + (uint64_t)rules->cfa_offset;
    for (unsigned i = 0; i < UNWIND_COLUMNS; i++) {
        int64_t value = rules->column[i].value;
        uint64_t from = i;
        bool known = true;
        switch ((enum rule_kind)rules->column[i].kind) {
        case RULE_OFFSET:
            known = read(context, cfa + (uint64_t)value, &caller.value[i]);
            break;
        case RULE_VALUE:
            caller.value[i] = cfa + (uint64_t)value;
            break;
        case RULE_REGISTER:
            from = (uint64_t)value;
            __attribute__((fallthrough));
        case RULE_SAME:
            known = from < UNWIND_COLUMNS && registers->known >> from & 1;
            caller.value[i] = known ? registers->value[from] : 0;
            break;
        case RULE_UNDEFINED:
            known = false;
        }
        caller.known |= (uint32_t)known << i;
    }
    /* The stack pointer of the caller is the CFA unless the rules say otherwise. */
    if (rules->column[UNWIND_RSP].kind == RULE_SAME) {
        caller.value[UNWIND_RSP] = cfa;
        caller.known |= 1u << UNWIND_RSP;
    }
    if (rules->column[UNWIND_RA].kind == RULE_SAME || !(caller.known >> UNWIND_RA & 1))
        return false;
    *registers = caller;
    return true;
}

bool unwind_step(const struct unwind_tables *tables, uint64_t pc,
                 struct unwind_registers *registers,
                 bool (*read)(void *context, uint64_t address, uint64_t *word), void *context)
{
    struct entry entry;
    struct machine machine = {.common = &entry.common, .pc = UINT64_MAX};

    if (!find_entry(&tables->eh_frame, true, pc, &entry) &&
        !find_entry(&tables->debug_frame, false, pc, &entry))
        return false;
    if (!run(&machine, entry.common.program))
        return false;
    machine.initial = machine.now;
    machine.at = entry.start;
    machine.pc = pc;
    return run(&machine, entry.program) && apply(&machine.now, registers, read, context);
}

static struct image_section find_table(const void *image, size_t size, const char *name)
{
    struct image_section table = section_find(image, size, name);
    return table.size > SECTION_TABLE_MAX ? (struct image_section){0} : table;
}

void unwind_open(struct unwind_tables *tables, const void *image, size_t size)
{
    tables->eh_frame = find_table(image, size, ".eh_frame");
    tables->debug_frame = find_table(image, size, ".debug_frame");
}
