/*
 * Arguments and environment as the guest gets them: as one command line in the device tree for
 * kernels since September 2024 (spec/boot.md section 11.1), as lists through hypercalls for older
 * ones (spec/hypercalls.md 4.11).
 */
#ifndef BOOT_BOOTARGS_H
#define BOOT_BOOTARGS_H

#include "uhyve.h"
#include "util/text.h"

/* Append the kernel command line for these parameters to `text`. */
void bootargs_format(struct text *text, const struct uhyve_params *params);

#endif
