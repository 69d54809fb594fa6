/*
 * What a program does before anything else, so that its surroundings cannot do harm. Main thread.
 */
#ifndef UTIL_PROCESS_H
#define UTIL_PROCESS_H

/*
 * Whoever starts the program may have closed descriptors 0 to 2. Occupy them, before anything else
 * is opened, with a descriptor for which read and write fail with EBADF: else the next file opened,
 * /dev/kvm perhaps, would be taken for a standard stream.
 *
 * A pipe without reader and a limit on the size of files become errors of the write, in place of
 * signals that end the program.
 *
 * Returns 0 or -errno.
 */
int process_begin(void);

#endif
