#include "hypercall_fixture.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "console/console.h"
#include "fs/files.h"

#define TABLES (FIXTURE_END - 0x8000)

static void take_message(void *context, enum uhyve_level level, const char *text)
{
    struct fixture *fixture = context;
    fixture->messages++;
    snprintf(fixture->last_message, sizeof fixture->last_message, "%s", text);
}

static bool page_tables(void *vcpu, uint64_t *cr3)
{
    struct fixture *fixture = vcpu;
    *cr3 = fixture->cr3;
    return fixture->cr3 != 0;
}

static int create_files(struct fixture *fixture)
{
    const struct files_options options = {&fixture->params, true, fixture->stop_fd, &fixture->log};
    return files_create(&fixture->context.files, &options, NULL);
}

int fixture_setup(void **state)
{
    static const struct ram_options options;
    struct fixture *fixture = calloc(1, sizeof *fixture);

    *state = fixture;
    fixture->output = memfd_create("output", MFD_CLOEXEC);
    fixture->stop_fd = eventfd(0, EFD_CLOEXEC);
    uhyve_params_init(&fixture->params);
    fixture->params.output_fd = fixture->output;
    fixture->log = (struct log){take_message, fixture, UHYVE_LEVEL_WARN};
    fixture->caller = (struct hypercall_caller){page_tables, fixture};
    fixture->context = (struct hypercall_context){
        .ram = &fixture->ram,
        .log = &fixture->log,
    };
    if (create_files(fixture) != 0)
        return -1;
    if (ram_alloc(&fixture->ram, FIXTURE_BASE, FIXTURE_SIZE, &options, NULL) != 0)
        return -1;
    return console_create(&fixture->context.console, &fixture->params, fixture->stop_fd,
                          &fixture->log, NULL);
}

void fixture_input(struct fixture *fixture, int fd)
{
    fixture->params.stdin_fd = fd;
    files_destroy(fixture->context.files);
    int err = create_files(fixture);
    assert(err == 0);
}

int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;
    console_destroy(fixture->context.console);
    files_destroy(fixture->context.files);
    ram_free(&fixture->ram);
    close(fixture->output);
    close(fixture->stop_fd);
    free(fixture);
    return 0;
}

enum hypercall_outcome fixture_out(struct fixture *fixture, uint16_t port, uint8_t size,
                                   uint32_t count, const void *data, uint64_t rdi)
{
    const struct hypercall *call = hypercall_find(port);
    const struct hypercall_write write = {size, count, data, rdi};
    assert(call);
    return hypercall_run(call, &fixture->context, &fixture->caller, &write, &fixture->exit_code);
}

enum hypercall_outcome fixture_v1(struct fixture *fixture, uint16_t port, uint64_t eax)
{
    assert(eax <= UINT32_MAX);
    /* RDI is not for this generation: whatever is in it must not matter. */
    return fixture_out(fixture, port, 4, 1, &(uint32_t){(uint32_t)eax}, UINT64_MAX);
}

enum hypercall_outcome fixture_v2(struct fixture *fixture, uint16_t port, uint64_t rdi)
{
    return fixture_out(fixture, port, 4, 1, &(uint32_t){0x1234}, rdi);
}

void *fixture_at(struct fixture *fixture, gpa_t gpa, size_t size)
{
    void *host = ram_at(&fixture->ram, gpa, size);
    assert(host);
    return host;
}

void fixture_put(struct fixture *fixture, gpa_t gpa, const void *from, size_t size)
{
    memcpy(fixture_at(fixture, gpa, size), from, size);
}

const char *fixture_output(struct fixture *fixture)
{
    static char text[2 << 20];
    console_flush(fixture->context.console);
    ssize_t size = pread(fixture->output, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    lseek(fixture->output, 0, SEEK_SET);
    return ftruncate(fixture->output, 0) == 0 ? text : NULL;
}

void fixture_map(struct fixture *fixture, gva_t gva, gpa_t gpa)
{
    uint64_t *tables = fixture_at(fixture, TABLES, 0x4000);
    assert(gva < 2 << 20);
    for (unsigned level = 0; level < 3; level++)
        tables[level * 512] = (TABLES + (level + 1) * 4096) | X86_PTE_PRESENT;
    tables[3 * 512 + gva / 4096] = gpa | X86_PTE_PRESENT;
    fixture->cr3 = TABLES;
}
