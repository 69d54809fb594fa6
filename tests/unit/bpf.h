/* Classic BPF, executed as the kernel does for a system call filter. */
#ifndef UNIT_BPF_H
#define UNIT_BPF_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

/* What the program decides about a system call. An instruction that libseccomp does not use, or a
 * program without an end, fails the test. */
uint32_t bpf_execute(const struct sock_filter *program, int size, const struct seccomp_data *data);

#endif
