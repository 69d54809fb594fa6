/*
 * Names of files as a guest writes them: purely lexical normalisation (spec/files.md section 1.1).
 * Works on the caller's memory; any thread.
 */
#ifndef FS_GUEST_PATH_H
#define FS_GUEST_PATH_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Write the normal form of `path` to `to`: no repeated or final slash, no ".", no ".." but at the
 * start of a relative path, no slash at the start. "/root//a/../b/" becomes "root/b"; "/" becomes
 * "", the empty path ".". `capacity` should be strlen(path) + 2. Returns 0, -EINVAL if the path is
 * not UTF-8, or -ENAMETOOLONG if it does not fit.
 */
int guest_path_normalize(const char *path, char *to, size_t capacity);

/* Can something have this normal form as its name? False for "", "." and what starts with "..",
 * which never match anything. */
bool guest_path_is_name(const char *normalized);

#endif
