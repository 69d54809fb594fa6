#include "sandbox/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/error.h"

int privileges_become(uid_t uid, gid_t gid, struct uhyve_error *error)
{
    /* Groups first: afterwards there is no right to change them any more. */
    if (setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0)
        return 0;
    int err = errno;
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot become user %u, group %u: %s (only root can run the guest as another "
                     "user)",
                     (unsigned)uid, (unsigned)gid, strerror(err));
}

int privileges_forbid_new(struct uhyve_error *error)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        return 0;
    int err = errno;
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot give up new privileges: %s (the kernel is too old)", strerror(err));
}

int privileges_drop(struct uhyve_error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    /* The ambient set, a part of the other two, goes with them. */
    if (syscall(SYS_capset, &header, none) == 0)
        return 0;
    int err = errno;
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot drop capabilities: %s (--file-isolation=none does without)",
                     strerror(err));
}
