/*
 * A VM made through the public interface, for the tests of that interface. Its output goes to files
 * in memory.
 *
 * The guests come from the directory that the environment variable GUESTS names. Where there are
 * none, or no accelerator that can run them, tests are skipped with the reason.
 */
#ifndef API_FIXTURE_H
#define API_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>

#include "uhyve.h"

struct api_vm {
    struct uhyve_params params; /* change them between api_init and api_create */
    char path[512];
    int out, log; /* files behind stdout_fd and log_fd */
    int image;    /* file of a kernel made for the test, or -1 */
    struct uhyve_vm *vm;
    struct uhyve_result result;
    struct uhyve_error error;
};

/* False after printing why no guest can be run here. */
bool api_usable(void);

/* The path of the guest `name`, or NULL after printing why it cannot be run. */
const char *api_guest(const char *name);

/* Skip the test if no guest, or not this one, can be run. */
#define NEED_ACCELERATOR()                                                                         \
    do {                                                                                           \
        if (!api_usable())                                                                         \
            skip();                                                                                \
    } while (0)

#define NEED_GUEST(name)                                                                           \
    do {                                                                                           \
        if (!api_guest(name))                                                                      \
            skip();                                                                                \
    } while (0)

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

/* Descriptors, threads and mappings of this process. */
struct api_resources {
    unsigned descriptors, threads, mappings;
};
struct api_resources api_resources(void);

#endif
