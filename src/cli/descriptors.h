/*
 * Descriptors that the program was started with, beyond the standard streams: left open by whoever
 * started it, by mistake or on purpose ("uhyve <(zcat image)"). No guest has any use for them. Main
 * thread.
 */
#ifndef CLI_DESCRIPTORS_H
#define CLI_DESCRIPTORS_H

#define DESCRIPTORS_MAX 64

struct descriptors {
    int fd[DESCRIPTORS_MAX];
    int count;
};

/* Note which ones there are: as the first thing, before the program opens any. Not more than the
 * maximum are noted and, without /proc, only those whose numbers are below it. */
void descriptors_note(struct descriptors *descriptors);

/* Close them, when everything that could be named by /dev/fd is open. */
void descriptors_close(struct descriptors *descriptors);

#endif
