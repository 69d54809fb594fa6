/*
 * Opening a path that must stay beneath a directory, whatever links and renames are in the way.
 *
 * The kernel does that with openat2. Where there is none (before Linux 5.6, or forbidden), or where
 * it gives up because somebody renames directories meanwhile, beneath_walk does: one component at a
 * time from the directory downwards, never following a link and never opening "..". Links are read
 * and their targets walked likewise, ".." of a target steps back along directories that were
 * walked. A directory that is moved away during the walk is left where it went; no step leads
 * upwards from there.
 *
 * Any thread.
 */
#ifndef FS_BENEATH_H
#define FS_BENEATH_H

#include <sys/types.h>

/*
 * `path` is relative and not empty; `flags` as for openat, O_CLOEXEC is added. Returns a descriptor
 * or -errno; -EXDEV if the path leads out.
 */
int beneath_open(int base, const char *path, int flags, mode_t mode);

/* The same without openat2. */
int beneath_walk(int base, const char *path, int flags, mode_t mode);

#endif
