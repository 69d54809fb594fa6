/*
 * A capture of all frames (--net-dump): a back end around another one that writes what goes through
 * to a file, in the format of pcap with nanoseconds, which tcpdump and Wireshark read.
 *
 * Frames are captured as they pass: checksums that the guest leaves to the host are not there yet,
 * and segments that are to be cut are still whole.
 *
 * System calls after the start: writev, as everyone may.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net/user.h"
#include "util/error.h"

#define PCAP_MAGIC_NS      0xa1b23c4d
#define PCAP_LINK_ETHERNET 1
#define PIECES_MAX         64 /* of one frame; the rest is cut off */

/* In the byte order of this machine: the magic tells readers. */
struct pcap_file {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy;
    uint32_t length_max;
    uint32_t link;
};

struct pcap_record {
    uint32_t seconds, nanoseconds;
    uint32_t stored, length; /* bytes */
};

struct dump {
    struct net_backend net;
    struct net_ops ops; /* the other one's, with some replaced */
    struct net_backend *inner;
    const struct log *log;
    int file;
    atomic_bool failed; /* nothing more is written */
};

/* Returns 0 or an errno. What is short has met a limit, and the next attempt tells which. */
static int append(int file, struct iovec *pieces, int count)
{
    while (count) {
        ssize_t written = writev(file, pieces, count);
        if (written < 0 && errno != EINTR)
            return errno;
        for (; count && written >= (ssize_t)pieces->iov_len; pieces++, count--)
            written -= (ssize_t)pieces->iov_len;
        if (count && written > 0) {
            pieces->iov_base = (uint8_t *)pieces->iov_base + written;
            pieces->iov_len -= (size_t)written;
        }
    }
    return 0;
}

/* Append one frame: bytes [12, size) of the vector. Records of two threads do not mix: each is one
 * write to the end of the file. */
static void record(struct dump *dump, const struct iovec *iov, int count, size_t size)
{
    struct pcap_record header;
    struct iovec pieces[PIECES_MAX + 1] = {{&header, sizeof header}};
    size_t skip = sizeof(struct net_header), stored = 0;
    struct timespec now;
    int used = 1;

    if (atomic_load(&dump->failed) || size <= skip)
        return;
    size -= skip;
    for (int i = 0; i < count && used <= PIECES_MAX && stored < size; i++) {
        size_t start = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        size_t part = iov[i].iov_len - start;
        skip -= start;
        part = part < size - stored ? part : size - stored;
        pieces[used] = (struct iovec){(uint8_t *)iov[i].iov_base + start, part};
        used += part != 0;
        stored += part;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    header = (struct pcap_record){(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)stored,
                                  (uint32_t)size};
    int err = append(dump->file, pieces, used);
    if (err && !atomic_exchange(&dump->failed, true))
        log_warn(dump->log, "the capture of the network ends here: %s (%s)", strerror(err),
                 error_remedy(err, "check where it goes"));
}

static int dump_send(struct net_backend *net, const struct iovec *iov, int count)
{
    struct dump *dump = (struct dump *)net;
    size_t size = 0;

    int err = dump->inner->ops->send(dump->inner, iov, count);
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    if (!err)
        record(dump, iov, count, size);
    return err;
}

static ssize_t dump_receive(struct net_backend *net, const struct iovec *iov, int count)
{
    struct dump *dump = (struct dump *)net;

    ssize_t size = dump->inner->ops->receive(dump->inner, iov, count);
    if (size > 0)
        record(dump, iov, count, (size_t)size);
    return size;
}

static int dump_start(struct net_backend *net, const struct net_client *client,
                      struct uhyve_error *error)
{
    struct dump *dump = (struct dump *)net;
    return dump->inner->ops->start(dump->inner, client, error);
}

static void dump_set_offloads(struct net_backend *net, unsigned offloads)
{
    struct dump *dump = (struct dump *)net;
    dump->inner->ops->set_offloads(dump->inner, offloads);
}

static void dump_close(struct net_backend *net)
{
    struct dump *dump = (struct dump *)net;

    net_close(dump->inner);
    close(dump->file);
    free(dump);
}

static int open_file(const char *path, struct uhyve_error *error)
{
    const struct pcap_file header = {
        .magic = PCAP_MAGIC_NS,
        .major = 2,
        .minor = 4,
        .length_max = NET_FRAME_MAX,
        .link = PCAP_LINK_ETHERNET,
    };
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);

    const uint8_t *from = (const uint8_t *)&header, *end = from + sizeof header;
    int err = file < 0 ? errno : 0;

    while (!err && from < end) {
        ssize_t size = write(file, from, (size_t)(end - from));
        if (size >= 0)
            from += size;
        else if (errno != EINTR)
            err = errno;
    }
    if (!err)
        return file;
    /* Nothing of it shall stay. */
    if (file >= 0) {
        unlink(path);
        close(file);
    }
    return error_set(error, UHYVE_STATUS_FAILED, err, "cannot create the capture '%s': %s (%s)",
                     path, strerror(err),
                     err == EEXIST ? "give the name of a new file"
                                   : error_remedy(err, "check the path"));
}

int net_dump_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                  struct uhyve_error *error)
{
    struct net_backend *inner = *net;
    struct dump *dump = calloc(1, sizeof *dump);

    if (!dump)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    dump->file = open_file(config->dump, error);
    if (dump->file < 0) {
        int err = dump->file;
        free(dump);
        return err;
    }
    dump->inner = inner;
    dump->log = log;
    dump->ops = *inner->ops;
    dump->ops.send = dump_send;
    dump->ops.receive = dump_receive;
    dump->ops.close = dump_close;
    if (inner->ops->start)
        dump->ops.start = dump_start;
    if (inner->ops->set_offloads)
        dump->ops.set_offloads = dump_set_offloads;
    dump->net = (struct net_backend){.ops = &dump->ops, .info = inner->info, .fd = inner->fd};
    *net = &dump->net;
    return 0;
}
