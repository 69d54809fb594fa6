/*
 * Packets that ask about the machine: features, documents, threads, where the image is.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "debug/gdb/command.h"

/* Is `word` one of the words of this list, which semicolons separate? */
static bool has_word(const char *list, const char *word)
{
    size_t size = strlen(word);

    while (*list) {
        size_t length = strcspn(list, ";");
        if (length == size && memcmp(list, word, size) == 0)
            return true;
        list += length + (list[length] == ';');
    }
    return false;
}

void command_supported(struct gdb_session *session, const char *text, size_t size)
{
    const char *list = *text == ':' ? text + 1 : text;

    session->multiprocess = has_word(list, "multiprocess+");
    session->swbreak = has_word(list, "swbreak+");
    session->hwbreak = has_word(list, "hwbreak+");
    text_printf(&session->reply,
                "PacketSize=%x;vContSupported+;multiprocess+;QStartNoAckMode+;swbreak+;hwbreak+;"
                "qXfer:features:read+;qXfer:threads:read+;qXfer:memory-map:read+%s",
                PACKET_MAX, session->machine->image ? ";qXfer:exec-file:read+" : "");
}

static void describe_target(struct gdb_session *session)
{
    gdb_registers_describe(&session->document, session->avx);
}

static void describe_threads(struct gdb_session *session)
{
    text_add(&session->document, "<?xml version=\"1.0\"?>\n<threads>\n");
    for (unsigned i = 0; i < session->machine->cpu_count; i++) {
        text_add(&session->document, "<thread id=\"");
        session_add_thread(session, &session->document, i);
        text_printf(&session->document, "\" core=\"%u\" name=\"CPU %u\"/>\n", i, i);
    }
    text_add(&session->document, "</threads>\n");
}

/* Guests map RAM where they like: every address that exists at all may be RAM. */
static void describe_memory(struct gdb_session *session)
{
    text_add(&session->document,
             "<?xml version=\"1.0\"?>\n"
             "<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\" "
             "\"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n"
             "<memory-map>\n"
             "<memory type=\"ram\" start=\"0x0\" length=\"0x800000000000\"/>\n"
             "<memory type=\"ram\" start=\"0xffff800000000000\" length=\"0x800000000000\"/>\n"
             "</memory-map>\n");
}

static void name_image(struct gdb_session *session)
{
    if (session->machine->image)
        text_add(&session->document, session->machine->image);
}

/* What qXfer reads. */
static const struct {
    const char *name; /* up to the offset; what stands between "read:" and it is the annex */
    void (*describe)(struct gdb_session *session);
} documents[] = {
    {"features:read:target.xml:", describe_target},
    {"threads:read::", describe_threads},
    {"memory-map:read::", describe_memory},
    {"exec-file:read:", name_image}, /* the annex, a process, is optional */
};

/* "OFFSET,SIZE": an `m` and a piece, or an `l` and the last piece. */
static void add_piece(struct gdb_session *session, const char *text)
{
    const struct text *document = &session->document;
    uint64_t offset, size;

    if (!hex_number(&text, &offset) || *text++ != ',' || !hex_number(&text, &size) || *text ||
        document->failed || offset > document->size) {
        session_error(session, EINVAL);
        return;
    }
    uint64_t left = document->size - offset;
    if (size > PACKET_MAX / 2 - 1) /* every byte may need an escape */
        size = PACKET_MAX / 2 - 1;
    text_add(&session->reply, size < left ? "m" : "l");
    if (document->data)
        text_add_bytes(&session->reply, document->data + offset, size < left ? size : left);
}

void command_transfer(struct gdb_session *session, const char *text, size_t size)
{
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        size_t length = strlen(documents[i].name);
        if (strncmp(text, documents[i].name, length) != 0)
            continue;
        const char *at = text + length;
        if (documents[i].describe == name_image) {
            at += strcspn(at, ":");
            at += *at == ':';
        }
        session->document.size = 0;
        documents[i].describe(session);
        add_piece(session, at);
        return;
    }
    if (strncmp(text, "features:read:", strlen("features:read:")) == 0)
        text_add(&session->reply, "E00"); /* there is no other file */
}

/*
 * Where the image is in memory. For GDB "Text" and "Data" mean sections of these names, and it
 * leaves all others where they were; told the address of the first segment it moves them all.
 */
void command_offsets(struct gdb_session *session, const char *text, size_t size)
{
    if (session->machine->relocated)
        text_printf(&session->reply, "TextSeg=%llx",
                    (unsigned long long)session->machine->first_segment);
    else
        text_add(&session->reply, "Text=0;Data=0;Bss=0");
}

void command_threads_first(struct gdb_session *session, const char *text, size_t size)
{
    for (unsigned i = 0; i < session->machine->cpu_count; i++) {
        text_add(&session->reply, i ? "," : "m");
        session_add_thread(session, &session->reply, i);
    }
}

/* The first answer had them all. */
void command_threads_more(struct gdb_session *session, const char *text, size_t size)
{
    text_add(&session->reply, "l");
}

void command_thread_info(struct gdb_session *session, const char *text, size_t size)
{
    char name[32];
    unsigned cpu;

    if (!session_read_thread(session, &text, &cpu) || cpu == GDB_ALL_CPUS) {
        session_error(session, ESRCH);
        return;
    }
    snprintf(name, sizeof name, "CPU %u", cpu);
    hex_add(&session->reply, name, strlen(name));
}

void command_current_thread(struct gdb_session *session, const char *text, size_t size)
{
    text_add(&session->reply, "QC");
    session_add_thread(session, &session->reply, session->cpu);
}
