/*
 * The tree of names that a guest sees (spec/files.md section 1), one per VM: virtual directories,
 * and in them mapped host files and directories, files in memory, and what the guest created in its
 * temporary directory.
 *
 * Before the guest runs, filemap_add_host and filemap_add_bytes fill it, on one thread. While it
 * runs, any thread may call the functions of filemap_run.h. The map owns its names and
 * references to what it leads to; bytes are borrowed and must outlive it.
 */
#ifndef FS_FILEMAP_H
#define FS_FILEMAP_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/host_root.h"
#include "util/log.h"
#include "util/text.h"

struct filemap;
struct quota;

/*
 * An empty map. What the guest creates later is taken from `quota`, which the caller keeps.
 * Returns NULL without memory.
 */
struct filemap *filemap_create(struct quota *quota);
void filemap_destroy(struct filemap *map); /* NULL is allowed */

/*
 * Map a host path (section 2). `confined` false lets symbolic links lead out of it. Returns 0, or
 * -errno with *error filled: the name is taken, is below a file or a mapped directory, or implied
 * by an earlier one as a directory.
 */
int filemap_add_host(struct filemap *map, const struct uhyve_file_mapping *mapping, bool confined,
                     struct uhyve_error *error);

/*
 * A read-only file in memory (section 6.4). `guest_path` is normalised like any guest path. Errors
 * as before.
 */
int filemap_add_bytes(struct filemap *map, const char *guest_path, const void *data, size_t size,
                      struct uhyve_error *error);

/*
 * The host objects that are mapped, for those who restrict the process: start with *position 0.
 * NULL or false after the last one.
 */
struct host_root *filemap_next_host(const struct filemap *map, size_t *position);
bool filemap_next_root(const struct filemap *map, size_t *position, struct host_root_view *view);

/*
 * The directories to announce in the device tree (section 3.1), each with its terminating NUL, for
 * the property "mounts"; nothing is added if there are none. Only the topmost ones: kernels refuse
 * a mount below another, and calls for everything below arrive here anyway. Names that no kernel
 * can mount are left out with a warning.
 */
void filemap_list_mounts(const struct filemap *map, const struct log *log, struct text *mounts);

#endif
