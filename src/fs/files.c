#include "fs/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fs/encode.h"
#include "fs/fdtable.h"
#include "fs/filemap_run.h"
#include "fs/guest_path.h"
#include "fs/keeper.h"
#include "fs/wait.h"
#include "util/error.h"

/* Descriptors of this process that the guest must leave for other uses. */
#define DESCRIPTORS_KEPT 64

/* Memory for listings of directories that the guest has open, bytes. */
#define LISTINGS_MAX (UINT64_C(64) << 20)

/* How often an open looks again because another vCPU created or removed the same name meanwhile. */
#define OPEN_TRIES 16

/* Everything in this folder, once the VM is made. No filter sees names: those are Landlock's. */
const struct sandbox_call files_calls[] = {
    SANDBOX_CALL(readv),
    SANDBOX_CALL(writev),
    SANDBOX_CALL(preadv),
    SANDBOX_CALL(pwritev),
    SANDBOX_CALL(lseek),
    SANDBOX_CALL(poll),
    SANDBOX_CALL(openat2),
    SANDBOX_CALL(openat),
    SANDBOX_CALL(readlinkat), /* in place of openat2, where that does not exist */
    SANDBOX_CALL(fstat),
    SANDBOX_CALL(newfstatat), /* the C library's fstat */
    SANDBOX_CALL(getdents64),
    SANDBOX_CALL(mkdirat),
    SANDBOX_CALL(unlinkat),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_SETFL)),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_GETFL)), /* fdopendir */
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_SETFD)), /* fdopendir */
    SANDBOX_END,
};

struct files {
    struct filemap *map;
    struct keeper *keeper; /* NULL: none is needed */
    struct host_root **kept;
    struct fdtable table;
    struct tempdir temp;
    struct quota temp_quota;
    struct quota listing_quota;
    bool direct, sync;
    int stdin_fd;
    int stop_fd;
};

static size_t table_limit(unsigned wanted, const struct log *log)
{
    struct rlimit limit;
    rlim_t possible;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return wanted;
    possible = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                     : DESCRIPTORS_KEPT;
    if (wanted <= possible)
        return wanted;
    log_info(log,
             "the guest can have only %llu files open, because of this process's limit (see "
             "ulimit -n)",
             (unsigned long long)possible);
    return possible;
}

static int fill(struct files *files, const struct files_options *options, struct uhyve_error *error)
{
    const struct uhyve_params *params = options->params;
    int err = 0;

    files->map = filemap_create(&files->temp_quota);
    if (!files->map)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    for (size_t i = 0; i < params->file_mapping_count && !err; i++)
        err = filemap_add_host(files->map, &params->file_mappings[i], options->confined, error);
    if (err)
        return err;
    const struct tempdir_options temp = {
        .where = params->tempdir,
        .uid = params->change_user ? params->uid : geteuid(),
        .gid = params->change_user ? params->gid : getegid(),
        .quota = &files->temp_quota,
        .log = options->log,
    };
    return tempdir_create(&files->temp, &temp, error);
}

int files_create(struct files **result, const struct files_options *options,
                 struct uhyve_error *error)
{
    const struct uhyve_params *params = options->params;
    struct files *files = calloc(1, sizeof *files);

    *result = NULL;
    if (!files)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    files->temp = (struct tempdir){.parent = -1, .fd = -1};
    files->temp_quota.limit = params->limit_temp;
    files->listing_quota.limit = LISTINGS_MAX;
    files->direct = params->io_direct;
    files->sync = params->io_sync;
    files->stdin_fd = params->stdin_fd;
    files->stop_fd = options->stop_fd;
    fdtable_init(&files->table, table_limit(params->limit_files, options->log));
    int err = fill(files, options, error);
    if (err)
        files_destroy(files);
    else
        *result = files;
    return err;
}

static bool needs_keeper(const struct host_root *root)
{
    struct host_root_view view;
    host_root_describe(root, &view);
    return view.kind != HOST_ROOT_DIRECTORY && !view.read_only;
}

int files_keep(struct files *files, struct uhyve_error *error)
{
    struct host_root *root;
    size_t count = 0, mapped = 0, position = 0;

    while (filemap_next_host(files->map, &mapped))
        ;
    files->kept = calloc(mapped + 1, sizeof *files->kept);
    if (!files->kept)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    while ((root = filemap_next_host(files->map, &position)))
        if (needs_keeper(root))
            files->kept[count++] = root;
    if (!count)
        return 0;
    int err = keeper_start(&files->keeper, files->kept, count, error);
    for (size_t i = 0; i < count && !err; i++)
        host_root_set_keeper(files->kept[i], files->keeper, (uint32_t)i);
    return err;
}

bool files_are_kept(const struct files *files)
{
    return files->keeper != NULL;
}

void files_destroy(struct files *files)
{
    if (!files)
        return;
    fdtable_destroy(&files->table);
    keeper_stop(files->keeper);
    free(files->kept);
    filemap_destroy(files->map);
    tempdir_remove(&files->temp);
    free(files);
}

struct filemap *files_map(struct files *files)
{
    return files->map;
}

const char *files_temp_path(const struct files *files)
{
    return files->temp.path;
}

int files_temp_fd(const struct files *files)
{
    return files->temp.fd;
}

int files_temp_parent(const struct files *files)
{
    return files->temp.parent;
}

/* Bring a path into normal form; it must be able to name something. */
static int normalize(const char *path, char *normal)
{
    int err = guest_path_normalize(path, normal, HERMIT_PATH_MAX);
    return err ? err : guest_path_is_name(normal) ? 0 : -ENOENT;
}

/* What the guest's path leads to; the caller releases the entry. */
static int look_up(struct files *files, const char *path, char *normal, struct filemap_entry *entry)
{
    int err = normalize(path, normal);
    if (!err)
        filemap_lookup(files->map, normal, entry);
    return err;
}

/* The numbers are those of x86_64 Linux; a host may have others. */
static int host_flags(const struct files *files, int32_t flags)
{
    static const struct {
        int guest, host;
    } bits[] = {
        {HERMIT_O_CREAT, O_CREAT},         {HERMIT_O_EXCL, O_EXCL},     {HERMIT_O_TRUNC, O_TRUNC},
        {HERMIT_O_APPEND, O_APPEND},       {HERMIT_O_WRONLY, O_WRONLY}, {HERMIT_O_RDWR, O_RDWR},
        {HERMIT_O_DIRECTORY, O_DIRECTORY},
    };
    int host = files->sync ? O_SYNC : 0;

    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (flags & bits[i].guest)
            host |= bits[i].host;
    return host;
}

static bool is_writing(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static int open_host(struct files *files, const struct filemap_entry *entry, int flags, mode_t mode,
                     struct open_file **file)
{
    int fd;
    do
        fd = host_root_open_file(entry->host, entry->rest, flags, mode);
    while (fd == -EINTR && !wait_is_over(files->stop_fd));
    return fd < 0 ? fd : open_file_host(fd, flags & O_APPEND, files->direct, file);
}

static int open_temp(struct files *files, const struct filemap_entry *entry, int flags,
                     struct open_file **file)
{
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    int fd = temp_file_open(entry->temp, flags & (O_ACCMODE | O_TRUNC | O_SYNC));
    return fd < 0 ? fd : open_file_temp(fd, entry->temp, flags & O_APPEND, files->direct, file);
}

static int open_bytes(const struct filemap_entry *entry, int flags, struct open_file **file)
{
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    return is_writing(flags) ? -EROFS : open_file_bytes(entry->data, entry->size, file);
}

static int open_directory(struct files *files, const char *path, const struct filemap_entry *entry,
                          int flags, struct open_file **file)
{
    struct filemap_listing listing;

    if (!(flags & O_DIRECTORY))
        return -EINVAL;
    if (is_writing(flags))
        return -EISDIR;
    int err = filemap_list(files->map, path, &files->listing_quota, &listing);
    if (!err) {
        err = open_file_listing(&listing, entry, &files->listing_quota, file);
        filemap_listing_free(&listing);
    }
    return err;
}

/* Create a file in the temporary directory and give it its name when all else went well. -EAGAIN:
 * somebody else was quicker. */
static int create_temp(struct files *files, const char *path, int flags, mode_t mode,
                       struct open_file **file)
{
    struct temp_file *temp;

    if (!(flags & O_CREAT))
        return -ENOENT;
    /* Nobody else can get at it, and the guest can always open it again, whoever this process is.
     */
    int fd = temp_file_create(&files->temp, flags & (O_ACCMODE | O_SYNC), mode | 0600, &temp);
    if (fd < 0)
        return fd;
    int err = open_file_temp(fd, temp, flags & O_APPEND, files->direct, file);
    if (!err) {
        err = filemap_add_temp(files->map, path, temp);
        if (err)
            open_file_release(*file);
    }
    temp_file_release(temp);
    return err == -EEXIST ? -EAGAIN : err;
}

static int open_found(struct files *files, const char *path, int flags, mode_t mode,
                      struct open_file **file)
{
    struct filemap_entry entry;
    int err;

    filemap_lookup(files->map, path, &entry);
    switch (entry.kind) {
    case FILEMAP_HOST:
        err = open_host(files, &entry, flags, mode, file);
        break;
    case FILEMAP_TEMP:
        err = open_temp(files, &entry, flags, file);
        break;
    case FILEMAP_BYTES:
        err = open_bytes(&entry, flags, file);
        break;
    case FILEMAP_DIRECTORY:
        err = open_directory(files, path, &entry, flags, file);
        break;
    case FILEMAP_MISSING:
        err = create_temp(files, path, flags, mode, file);
        break;
    default:
        err = flags & O_CREAT ? -ENOTDIR : -ENOENT;
        break;
    }
    filemap_entry_release(&entry);
    return err;
}

int32_t files_open(struct files *files, const char *path, int32_t flags, int32_t mode)
{
    char normal[HERMIT_PATH_MAX];
    struct open_file *file;
    int err;

    flags &= HERMIT_O_MASK;
    if ((flags & HERMIT_O_ACCMODE) == HERMIT_O_ACCMODE ||
        ((flags & HERMIT_O_CREAT) && (flags & HERMIT_O_DIRECTORY)))
        return -EINVAL;
    err = normalize(path, normal);
    if (!err)
        err = fdtable_reserve(&files->table);
    if (err)
        return err;
    err = -EAGAIN;
    for (unsigned i = 0; i < OPEN_TRIES && err == -EAGAIN; i++)
        err = open_found(files, normal, host_flags(files, flags), (mode_t)mode & 0777, &file);
    if (!err)
        return fdtable_install(&files->table, file);
    fdtable_cancel(&files->table);
    return err;
}

int files_close(struct files *files, int32_t fd)
{
    if (fd <= STDERR_FILENO)
        return 0; /* allowed, and does nothing */
    struct open_file *file = fdtable_remove(&files->table, fd);
    return file ? open_file_release(file) : -EBADF;
}

int64_t files_read(struct files *files, int32_t fd, const struct iovec *iov, int count)
{
    if (fd == STDIN_FILENO)
        return files->stdin_fd < 0 || !count
                   ? 0
                   : open_file_read_stream(files->stdin_fd, iov, count, files->stop_fd);
    struct open_file *file = fdtable_get(&files->table, fd);
    if (!file)
        return -EBADF;
    int64_t size = open_file_read(file, iov, count, files->stop_fd);
    open_file_release(file);
    return size;
}

int64_t files_write(struct files *files, int32_t fd, const struct iovec *iov, int count)
{
    struct open_file *file = fdtable_get(&files->table, fd);
    if (!file)
        return -EBADF;
    int64_t size = open_file_write(file, iov, count, files->stop_fd);
    open_file_release(file);
    return size;
}

int64_t files_seek(struct files *files, int32_t fd, int64_t offset, uint32_t whence)
{
    if (fd >= STDIN_FILENO && fd <= STDERR_FILENO)
        return -ESPIPE;
    struct open_file *file = fdtable_get(&files->table, fd);
    if (!file)
        return -EBADF;
    int64_t position = open_file_seek(file, offset, whence);
    open_file_release(file);
    return position;
}

int64_t files_list(struct files *files, int32_t fd, void *to, uint64_t size)
{
    struct open_file *file = fdtable_get(&files->table, fd);
    if (!file)
        return -EBADF;
    int64_t written = open_file_list(file, to, size);
    open_file_release(file);
    return written;
}

int files_stat_fd(struct files *files, int32_t fd, struct hermit_attr *attr)
{
    struct open_file *file = fdtable_get(&files->table, fd);
    if (!file)
        return -EBADF;
    int err = open_file_stat(file, attr);
    open_file_release(file);
    return err;
}

static int stat_entry(const struct filemap_entry *entry, bool follow, struct hermit_attr *attr)
{
    static const struct timespec never;
    struct stat status;
    int err;

    switch (entry->kind) {
    case FILEMAP_HOST:
        err = host_root_stat(entry->host, entry->rest, follow, &status);
        break;
    case FILEMAP_TEMP:
        err = temp_file_stat(entry->temp, &status);
        break;
    case FILEMAP_BYTES:
        encode_attr_bytes(attr, entry->size);
        return 0;
    case FILEMAP_DIRECTORY:
        encode_attr_directory(attr, entry->created ? entry->number : 0,
                              entry->created ? &entry->made_at : &never);
        return 0;
    default:
        return -ENOENT;
    }
    if (!err)
        encode_attr(attr, &status);
    return err;
}

int files_stat(struct files *files, const char *path, bool follow, struct hermit_attr *attr)
{
    char normal[HERMIT_PATH_MAX];
    struct filemap_entry entry;

    int err = look_up(files, path, normal, &entry);
    if (err)
        return err;
    err = stat_entry(&entry, follow, attr);
    filemap_entry_release(&entry);
    return err;
}

int files_mkdir(struct files *files, const char *path)
{
    char normal[HERMIT_PATH_MAX];
    struct filemap_entry entry;

    int err = look_up(files, path, normal, &entry);
    if (err)
        return err;
    switch (entry.kind) {
    case FILEMAP_HOST:
        err = host_root_mkdir(entry.host, entry.rest, 0777);
        break;
    case FILEMAP_BYTES:
        err = -EROFS;
        break;
    case FILEMAP_MISSING:
        err = filemap_add_directory(files->map, normal);
        break;
    case FILEMAP_BLOCKED:
        err = -ENOTDIR;
        break;
    default:
        err = -EEXIST;
        break;
    }
    filemap_entry_release(&entry);
    return err;
}

int files_unlink(struct files *files, const char *path)
{
    char normal[HERMIT_PATH_MAX];
    struct filemap_entry entry;

    int err = look_up(files, path, normal, &entry);
    if (err)
        return err;
    switch (entry.kind) {
    case FILEMAP_HOST:
        err = host_root_unlink(entry.host, entry.rest);
        /* A single file's name is free again. */
        if (!err && !*entry.rest)
            filemap_remove(files->map, normal, &entry);
        break;
    case FILEMAP_TEMP:
    case FILEMAP_BYTES:
    case FILEMAP_DIRECTORY:
        err = filemap_remove(files->map, normal, &entry);
        break;
    default:
        err = -ENOENT;
        break;
    }
    filemap_entry_release(&entry);
    return err == -ENOTEMPTY ? -ENOENT : err;
}
