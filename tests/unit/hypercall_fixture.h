/*
 * A guest that consists of memory and what it passes to hypercalls: for the tests of the
 * hypercalls. Its output goes, unfiltered, to a file in memory; messages of the VMM are counted.
 */
#ifndef HYPERCALL_FIXTURE_H
#define HYPERCALL_FIXTURE_H

#include "hermit/hypercall.h"
#include "hypercall/hypercall.h"

#define FIXTURE_BASE UINT64_C(0x200000)
#define FIXTURE_SIZE (UINT64_C(2) << 20)
#define FIXTURE_END  (FIXTURE_BASE + FIXTURE_SIZE)

struct fixture {
    struct ram ram;
    struct log log;
    struct hypercall_context context;
    struct hypercall_caller caller;
    struct uhyve_params params;
    int output; /* file that receives the guest's output */
    int stop_fd;
    uint64_t cr3; /* page tables of the caller; 0: the vCPU cannot tell */
    unsigned messages;
    char last_message[256];
    int exit_code;
};

/* For cmocka: *state becomes the fixture. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* From now on the guest's descriptor 0 is `fd`, and its other files are gone. With params changed
 * before also everything else that concerns files. */
void fixture_input(struct fixture *fixture, int fd);

/* Calls: 32 bits from EAX for generation 1, register RDI for generation 2, or anything. */
enum hypercall_outcome fixture_v1(struct fixture *fixture, uint16_t port, uint64_t eax);
enum hypercall_outcome fixture_v2(struct fixture *fixture, uint16_t port, uint64_t rdi);
enum hypercall_outcome fixture_out(struct fixture *fixture, uint16_t port, uint8_t size,
                                   uint32_t count, const void *data, uint64_t rdi);

/* Host address of guest memory, which must be there. */
void *fixture_at(struct fixture *fixture, gpa_t gpa, size_t size);
void fixture_put(struct fixture *fixture, gpa_t gpa, const void *from, size_t size);

/* What the guest has written since the last call, terminated; the buffer is static. */
const char *fixture_output(struct fixture *fixture);

/* Page tables in the last 32 KiB of memory: fixture_map maps one 4 KiB page of the first 2 MiB of
 * guest-virtual addresses. */
void fixture_map(struct fixture *fixture, gva_t gva, gpa_t gpa);

#endif
