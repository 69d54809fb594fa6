#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/filter.h"
#include "sandbox/privileges.h"
#include "util/error.h"

/* Whether a call would have these rights to it; unknown counts as yes, and so does what even root
 * may not do. EPERM is what containers answer that do not know the call. */
static bool is_accessible(const struct sandbox_path *path, int mode)
{
    long result = syscall(SYS_faccessat2, path->fd, path->name ? path->name : "", mode,
                          AT_EACCESS | (path->name ? 0 : AT_EMPTY_PATH));
    return result == 0 || errno != EACCES;
}

/*
 * Root was used to reach every file. It no longer does, and a guest that fails to open what was
 * mapped would be a riddle.
 */
static void warn_of_lost_access(const struct sandbox *sandbox, const struct log *log)
{
    for (size_t i = 0; i < sandbox->files.path_count; i++) {
        const struct sandbox_path *path = &sandbox->files.paths[i];
        struct stat status;
        if (!path->shown || fstatat(path->fd, path->name ? path->name : "", &status,
                                    path->name ? 0 : AT_EMPTY_PATH) != 0)
            continue;
        bool readable = is_accessible(path, R_OK | (S_ISDIR(status.st_mode) ? X_OK : 0));
        /* What nobody may write to is meant to be that way. */
        bool writable = !(path->rights & SANDBOX_WRITE) || !(status.st_mode & 0222) ||
                        is_accessible(path, W_OK);
        if (!readable || !writable)
            log_warn(log,
                     "'%s' is mapped, but user %u may not %s it without root's capabilities (run "
                     "the guest as its owner with --user, change its mode, or keep them with "
                     "--file-isolation=none)",
                     path->shown, (unsigned)geteuid(), readable ? "write to" : "read");
    }
}

static int restrict_files(const struct sandbox *sandbox, const struct log *log,
                          struct uhyve_error *error)
{
    bool strict = sandbox->isolation == UHYVE_ISOLATION_STRICT;
    int abi = landlock_abi();

    if (strict && abi < LANDLOCK_STRICT_ABI)
        return error_set(error, UHYVE_STATUS_FAILED, abi < 0 ? -abi : ENOTSUP,
                         "--file-isolation=strict needs Landlock as of Linux 6.2, and this kernel "
                         "has %s",
                         abi < 0 ? "none (add landlock to lsm= on its command line, or use normal)"
                                 : "an older one (use normal)");
    if (abi <= 0) {
        if (!sandbox->quiet)
            log_warn(log,
                     "this kernel has no Landlock: nothing but the checks of uhyve itself keeps "
                     "the guest from files that are not mapped (--file-isolation=none accepts "
                     "that)");
        return 0;
    }
    int err = landlock_restrict(&sandbox->files, abi);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot restrict access to files with Landlock: %s (%s)", strerror(-err),
                         error_remedy(-err, "--file-isolation=none does without"));
    if (!sandbox->quiet)
        log_debug(log, "files are restricted to %zu places, with version %d of Landlock",
                  sandbox->files.path_count, abi);
    return 0;
}

#ifndef UHYVE_SANITIZED
static int filter_calls(const struct sandbox *sandbox, struct uhyve_error *error)
{
    int err = filter_install(sandbox->calls, sandbox->call_lists, getpid(), sandbox->peer);

    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot filter system calls: %s (--no-seccomp does without)",
                         strerror(-err));
    return 0;
}
#endif

static bool restricts_files(const struct sandbox *sandbox)
{
    return sandbox->isolation == UHYVE_ISOLATION_NORMAL ||
           sandbox->isolation == UHYVE_ISOLATION_STRICT;
}

int sandbox_drop_privileges(const struct sandbox *sandbox, const struct log *log,
                            struct uhyve_error *error)
{
    bool isolated = restricts_files(sandbox);
    bool was_root = geteuid() == 0;
    int err = 0;

    if (sandbox->change_user)
        err = privileges_become(sandbox->uid, sandbox->gid, error);
    if (!err && isolated)
        err = privileges_drop(error);
    if (!err && was_root && (isolated || sandbox->change_user))
        warn_of_lost_access(sandbox, log);
    if (!err && (isolated || sandbox->filter))
        err = privileges_forbid_new(error);
    return err;
}

int sandbox_enter(const struct sandbox *sandbox, const struct log *log, struct uhyve_error *error)
{
    int err = 0;

    if (restricts_files(sandbox))
        err = restrict_files(sandbox, log, error);
#ifndef UHYVE_SANITIZED
    if (!err && sandbox->filter)
        err = filter_calls(sandbox, error);
#endif
    return err;
}
