/*
 * Calls from the guest to uhyve (spec/hypercalls.md). The functions choose the generation that the
 * image announces; hypercall_v1 and hypercall_v2 are the bare mechanisms, both of which every VMM
 * must accept at any time.
 *
 * Guests map memory one to one, so that a pointer is also the guest-physical address.
 * Results: >= 0 for success, a negative Linux error number for failure.
 */
#ifndef GUESTS_LIB_HYPERCALL_H
#define GUESTS_LIB_HYPERCALL_H

#include <stddef.h>
#include <stdint.h>

#include "hermit/hypercall.h"

/* The error numbers guests meet. */
enum guest_errno {
    GUEST_ENOENT = 2,
    GUEST_EBADF = 9,
    GUEST_EFAULT = 14,
    GUEST_EINVAL = 22,
    GUEST_ESPIPE = 29,
    GUEST_EROFS = 30,
    GUEST_ENAMETOOLONG = 36,
    GUEST_ENOSYS = 38, /* never from the VMM: it ignored the call */
};

/* Generation 1: the payload (an address below 4 GiB, or a character) travels in EAX. */
static inline void hypercall_v1(enum hermit_v1_port port, uint64_t payload)
{
    __asm__ volatile("outl %%eax, %%dx" : : "a"((uint32_t)payload), "d"((uint16_t)port) : "memory");
}

/* Generation 2: the payload (an address or a number) travels in RDI; EAX means nothing. */
static inline void hypercall_v2(enum hermit_v2_address address, uint64_t payload)
{
    __asm__ volatile("outl %%eax, %%dx"
                     :
                     : "a"(0), "d"((uint16_t)address), "D"(payload)
                     : "memory");
}

_Noreturn void guest_exit(int code);

/* Read at most `size` bytes; 0 at the end of the file. Descriptor 0 is standard input. */
int64_t file_read(int fd, void *buffer, size_t size);

/* Descriptors 1 and 2 are standard output and error. Generation 1 cannot report failure: `size`. */
int64_t file_write(int fd, const void *buffer, size_t size);

int file_open(const char *path, int flags, int mode);
int file_close(int fd);
int file_unlink(const char *path);

/* `whence`: 0 from the start, 1 from here, 2 from the end. Generation 1 fails with -1 always. */
int64_t file_seek(int fd, int64_t offset, int whence);

/* Interface version 3 only. file_list returns the bytes written, 0 at the end of the directory. */
int64_t file_list(int fd, void *buffer, size_t size);
int file_stat(const char *path, uint32_t kind, struct hermit_attr *attr);
int file_stat_fd(int fd, struct hermit_attr *attr);
int file_make_directory(const char *path);

/* The serial channel, where a kernel writes its log. */
void serial_write_byte(char byte);
void serial_write(const void *buffer, size_t size);

#endif
