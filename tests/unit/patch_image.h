/*
 * ELF images in memory for the tests of src/accel/direct/patch: loaded at an address of their own
 * and relocated, as a VM would, but not run.
 */
#ifndef PATCH_IMAGE_H
#define PATCH_IMAGE_H

#include "accel/direct/patch/code_map.h"

struct patch_image {
    uint8_t *bytes; /* owned */
    size_t size;
    uint64_t address;
    struct code_map map;
};

/* Fails the test if the file cannot be loaded. */
void patch_image_load(struct patch_image *image, const char *path);
void patch_image_unload(struct patch_image *image);

/*
 * Call `check` for each x86_64 ELF file in the directory that the environment variable
 * UHYVE_TEST_IMAGES names; says so if it is not set.
 */
void patch_image_each(void (*check)(const char *path));

#endif
