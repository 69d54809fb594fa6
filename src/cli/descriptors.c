#include "cli/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(struct descriptors *descriptors, int fd)
{
    if (descriptors->count < DESCRIPTORS_MAX)
        descriptors->fd[descriptors->count++] = fd;
}

/* The C library's opendir would allocate 32 KiB for this. */
static int note_entries(struct descriptors *descriptors, int directory)
{
    char entries[2048] __attribute__((aligned(8)));
    long size;

    while ((size = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0)
        for (long at = 0; at < size;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            int fd = atoi(entry->d_name);
            if (fd > STDERR_FILENO && fd != directory)
                note(descriptors, fd);
            at += entry->d_reclen;
        }
    return size < 0 ? -1 : 0;
}

/* Without /proc: the lowest ones, where a program that forgets some has them. */
static void probe(struct descriptors *descriptors)
{
    descriptors->count = 0;
    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS_MAX; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            note(descriptors, fd);
}

void descriptors_note(struct descriptors *descriptors)
{
    descriptors->count = 0;
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = directory < 0 ? -1 : note_entries(descriptors, directory);
    if (directory >= 0)
        close(directory);
    if (result != 0)
        probe(descriptors);
}

void descriptors_close(struct descriptors *descriptors)
{
    while (descriptors->count)
        close(descriptors->fd[--descriptors->count]);
}
