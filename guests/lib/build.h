/*
 * Which variant of a guest this is (see guests/meson.build). The compiled code is the same for all
 * interface versions; the values come from notes.S at link time.
 */
#ifndef GUESTS_LIB_BUILD_H
#define GUESTS_LIB_BUILD_H

#include <stdbool.h>
#include <stdint.h>

/* Hypercall interface version that the image announces: 1, or 2 and 3 for the newer calls. */
extern const uint32_t guest_interface;

/* False: the image poses as a kernel older than 0.10, which gets its arguments by Cmdsize/Cmdval
 * instead of the device tree. */
extern const bool guest_has_abi_tag;

#endif
