#include "cli/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "util/text.h"

/* (uid_t)-1 means "leave it as it is" to the system. */
#define ID_MAX (UINT32_MAX - 1)

int user_parse(struct cli_settings *settings, const struct cli_source *source, const char *value,
               struct uhyve_error *error)
{
    char user[256];
    const char *colon = strchr(value, ':'), *group = colon ? colon + 1 : NULL;
    size_t size = colon ? (size_t)(colon - value) : strlen(value);
    uint64_t uid, gid = 0;

    if (geteuid() != 0)
        return option_refuse(source, error, "only root can run a guest as another user");
    if (size == 0 || size >= sizeof user || (group && !*group))
        return option_refuse(source, error, "'%.80s' is not USER or USER:GROUP", value);
    memcpy(user, value, size);
    user[size] = '\0';

    bool number = text_parse_unsigned(user, ID_MAX, &uid) == 0;
    const struct passwd *entry = number ? getpwuid((uid_t)uid) : getpwnam(user);
    if (!number && !entry)
        return option_refuse(source, error, "there is no user '%.80s'", user);
    if (!group && !entry)
        return option_refuse(source, error,
                             "user %s is in no list of users, so its group is not known (write "
                             "%s:GROUP)",
                             user, user);
    if (!number)
        uid = entry->pw_uid;
    if (!group) {
        gid = entry->pw_gid;
    } else if (text_parse_unsigned(group, ID_MAX, &gid) != 0) {
        const struct group *found = getgrnam(group);
        if (!found)
            return option_refuse(source, error, "there is no group '%.80s'", group);
        gid = found->gr_gid;
    }
    settings->params.change_user = true;
    settings->params.uid = (uint32_t)uid;
    settings->params.gid = (uint32_t)gid;
    return 0;
}
