/*
 * A VM made through the public interface, for the tests of that interface. Its output goes to files
 * in memory.
 *
 * The guests come from the directory that the environment variable GUESTS names, ACCELERATOR says
 * who runs them ("kvm" or "direct"; unset: automatic). Where there are no guests, or the
 * accelerator does not work, whole programs are skipped with the reason.
 */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uhyve.h"
#include "unit.h"

struct api_vm {
    struct uhyve_params params; /* change them between api_init and api_create */
    char path[512];
    int out, log; /* files behind stdout_fd and log_fd */
    int image;    /* file of a kernel made for the test, or -1 */
    struct uhyve_vm *vm;
    struct uhyve_result result;
    struct uhyve_error error;
};

/*
 * In place of cmocka_run_group_tests, for tests that run guests: skips all of them where that is
 * not possible. (What cmocka itself reports for a skipped test is a failure to meson.)
 */
#define API_RUN_TESTS(tests) api_run_tests(tests, sizeof(tests) / sizeof *(tests))
int api_run_tests(const struct CMUnitTest *tests, size_t count);

/* Parameters for the guest with this name; no application argument if `argument` is NULL, which is
 * borrowed. */
void api_init(struct api_vm *api, const char *name, const char *const *argument);

/* The same for a kernel of interface 2 that consists of these instructions. */
void api_init_code(struct api_vm *api, const void *code, size_t size);

void api_create(struct api_vm *api); /* fails the test if it cannot be created */
void api_run(struct api_vm *api);    /* creates it if necessary; fails the test likewise */
void api_finish(struct api_vm *api); /* destroys it, closes the files */

/* What is in a file, terminated; the buffer is one of four static ones. */
const char *api_text(int fd);

double api_seconds(void); /* of a clock that never jumps */

/* What this process has. */
struct api_resources {
    unsigned descriptors, threads, mappings;
    uint64_t address_space; /* bytes */
};
struct api_resources api_resources(void);

#endif
