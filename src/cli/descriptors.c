#include "cli/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The C library's opendir would allocate 32 KiB for this. */
static void note_entries(struct descriptors *descriptors, int directory)
{
    char entries[2048] __attribute__((aligned(8)));
    long size;

    while ((size = syscall(SYS_getdents64, directory, entries, sizeof entries)) > 0)
        for (long at = 0; at < size;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            int fd = atoi(entry->d_name);
            if (fd > STDERR_FILENO && fd != directory && descriptors->count < DESCRIPTORS_MAX)
                descriptors->fd[descriptors->count++] = fd;
            at += entry->d_reclen;
        }
}

void descriptors_note(struct descriptors *descriptors)
{
    descriptors->count = 0;
    int directory = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return;
    note_entries(descriptors, directory);
    close(directory);
}

void descriptors_close(struct descriptors *descriptors)
{
    while (descriptors->count)
        close(descriptors->fd[--descriptors->count]);
}
