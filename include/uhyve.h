/*
 * libuhyve: run one Hermit unikernel image in one virtual machine.
 *
 *     struct uhyve_params params;
 *     struct uhyve_error error;
 *     struct uhyve_vm *vm;
 *     struct uhyve_result result;
 *
 *     uhyve_params_init(&params);
 *     params.image = "hello";
 *     params.stdout_fd = STDOUT_FILENO;
 *     if (uhyve_create(&params, &vm, &error) == 0) {
 *         uhyve_run(vm, &result, &error);
 *         uhyve_destroy(vm);
 *     }
 *
 * Several VMs may exist and run in one process at the same time. The library never exits the
 * process, writes only to the file descriptors it was given, and tells what it has to say through
 * params.message. It installs one signal handler, for SIGSTKFLT, with which it interrupts its own
 * threads.
 *
 * Threads: uhyve_run runs virtual CPU 0 on the calling thread and starts one thread for each
 * further CPU. uhyve_stop may be called from any thread and from a signal handler while the VM
 * exists; everything else on one VM from one thread at a time.
 */
#ifndef UHYVE_H
#define UHYVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * What went wrong, for people and for exit statuses. `status` is the exit status documented in
 * uhyve(1): 2 a parameter is out of range, 125 the VM could not be set up or run, 126 the image
 * cannot be booted, 127 the image was not found. `message` is one complete sentence without a
 * newline that names the object, the cause and the remedy.
 */
struct uhyve_error {
    int status;
    char message[1024];
};

#define UHYVE_STATUS_USAGE     2
#define UHYVE_STATUS_FAILED    125
#define UHYVE_STATUS_BAD_IMAGE 126
#define UHYVE_STATUS_NO_IMAGE  127
#define UHYVE_STATUS_CRASHED   134

enum uhyve_level {
    UHYVE_LEVEL_ERROR,
    UHYVE_LEVEL_WARN,
    UHYVE_LEVEL_INFO,
    UHYVE_LEVEL_DEBUG,
    UHYVE_LEVEL_NOTICE, /* part of what was asked for: passed on whatever the level is */
};

/* Who executes guest code. */
enum uhyve_accel {
    UHYVE_ACCEL_AUTO,   /* the first that can run a Hermit guest on this machine */
    UHYVE_ACCEL_KVM,    /* Linux KVM */
    UHYVE_ACCEL_DIRECT, /* natively in a confined process; needs no virtualization hardware */
};

/* How a guest gets the files of a Hermit image. */
enum uhyve_image_mode {
    UHYVE_IMAGE_EXTERNAL, /* through its file calls, read-only */
    UHYVE_IMAGE_INTERNAL, /* as a tar archive in its memory */
};

/* Where the frames of the guest's network card go. */
enum uhyve_net_kind {
    UHYVE_NET_NONE,   /* the guest has no network card */
    UHYVE_NET_TAP,    /* an existing tap interface */
    UHYVE_NET_USER,   /* connections of this process, on the guest's behalf */
    UHYVE_NET_SOCKET, /* a stream socket on which each frame follows its length */
};

enum uhyve_mac_kind {
    UHYVE_MAC_DEFAULT, /* uhyve's choice, the same in every run with the same net.name */
    UHYVE_MAC_GIVEN,   /* net.mac */
    UHYVE_MAC_OF_TAP,  /* that of the tap interface itself */
};

/* UHYVE_NET_USER: connections to a port of the host that go to the guest. Addresses are numeric;
 * empty: all of the host's, or the one of the guest. */
struct uhyve_forward {
    bool udp; /* else TCP */
    char host_address[46];
    uint16_t host_port;
    char guest_address[46];
    uint16_t guest_port;
};

struct uhyve_net {
    enum uhyve_net_kind kind;
    const char *name; /* TAP: the interface; SOCKET: the path; USER: anything, or NULL */
    enum uhyve_mac_kind mac_kind;
    uint8_t mac[6];
    const struct uhyve_forward *forwards;
    size_t forward_count;
    const char *dump; /* file that receives a capture of all frames (pcap); NULL: none */
};

/* What keeps a guest, and threads of the VMM that a guest has taken over, from files of the host
 * that are not mapped. */
enum uhyve_isolation {
    UHYVE_ISOLATION_CHECKS, /* the library's own checks */
    UHYVE_ISOLATION_NONE,   /* not all of them: links in mapped directories lead out of those */
    UHYVE_ISOLATION_NORMAL, /* no capabilities; Landlock, as far as this kernel has it */
    UHYVE_ISOLATION_STRICT, /* the same, but no run on a kernel that lacks some of it */
};

/* The form of a profile. */
enum uhyve_profile {
    UHYVE_PROFILE_OFF,
    UHYVE_PROFILE_TABLE,  /* functions and their shares */
    UHYVE_PROFILE_FOLDED, /* one stack a line, for other tools */
    UHYVE_PROFILE_SVG,    /* flame graph */
};

#define UHYVE_MIB            (UINT64_C(1) << 20)
#define UHYVE_MEMORY_MIN     (16 * UHYVE_MIB)
#define UHYVE_MEMORY_ALIGN   (2 * UHYVE_MIB)
#define UHYVE_MEMORY_DEFAULT (512 * UHYVE_MIB)
#define UHYVE_CPUS_MAX       256
#define UHYVE_IMAGE_LIMIT    (1024 * UHYVE_MIB)

#define UHYVE_LIMIT_FILES_DEFAULT 4096
#define UHYVE_LIMIT_FILES_MAX     1000000
#define UHYVE_LIMIT_TEMP_DEFAULT  (UINT64_C(4096) * UHYVE_MIB)

/*
 * A file or directory of the host that the guest sees under a name of its own. The host's may be
 * relative to the current directory, and may not exist yet if its directory does. The guest's is an
 * absolute path; nothing can be mapped below something that is mapped.
 */
struct uhyve_file_mapping {
    const char *host;
    const char *guest;
    bool read_only;
};

/*
 * Everything a VM is made from. Fill with uhyve_params_init, then change what you need. All
 * pointers are borrowed: they must stay valid until uhyve_destroy; file descriptors stay the
 * caller's.
 */
struct uhyve_params {
    const char *image; /* path of the ELF kernel or Hermit image */
    enum uhyve_image_mode image_mode;
    uint64_t image_limit; /* bytes that a Hermit image may have when it is unpacked */

    /*
     * Kernel arguments, application arguments, and the guest's environment as NAME=value strings.
     * Without any arguments those of a Hermit image are taken, unless explicit_args is set; its
     * variables are added to these, unless explicit_env is set.
     */
    const char *const *kernel_args;
    size_t kernel_arg_count;
    const char *const *app_args;
    size_t app_arg_count;
    bool explicit_args;
    const char *const *env;
    size_t env_count;
    bool explicit_env;

    uint64_t memory_size; /* bytes; at least UHYVE_MEMORY_MIN, a multiple of UHYVE_MEMORY_ALIGN */
    unsigned cpu_count;   /* 1 ... UHYVE_CPUS_MAX */
    enum uhyve_accel accel;
    bool aslr;   /* place a relocatable kernel at a random address (default on) */
    bool thp;    /* ask for transparent huge pages behind guest memory */
    bool ksm;    /* let the host merge equal guest pages */
    bool cpu_pm; /* let idle guest CPUs keep the host CPU: lower latency, a busy host CPU */
    bool pit;    /* give the guest a PIT (programmable interval timer) */
    struct uhyve_net net; /* the guest's network card (default none) */

    /* Host CPU for each vCPU: affinity_count is 0 (no pinning) or cpu_count. */
    const unsigned *affinity;
    size_t affinity_count;

    /*
     * Isolation: what uhyve_run gives up before the guest starts. All of it binds the thread that
     * calls uhyve_run, and the threads it starts later, for ever, so that there is none of it by
     * default: call uhyve_run on a thread of its own if you want it. Threads that exist already are
     * not bound, and share the memory of those that are. See docs/security.md.
     */
    enum uhyve_isolation isolation;
    /* Permit only the system calls that the library makes while a guest runs. Others raise SIGSYS,
     * which is fatal unless the program has a handler; this includes calls of your own in
     * `message`. */
    bool filter_calls;
    /* The whole process becomes another user, without further groups; only root may. */
    bool change_user;
    uint32_t uid, gid;

    /*
     * What the guest sees of the host's files, in addition to what it creates itself. That goes to
     * a private directory in `tempdir`, by default ${TMPDIR:-/tmp}/uhyve-UID, which is removed with
     * the VM. io_direct and io_sync open every regular file of the host with O_DIRECT and O_SYNC.
     */
    const struct uhyve_file_mapping *file_mappings;
    size_t file_mapping_count;
    const char *tempdir;
    bool io_direct;
    bool io_sync;
    unsigned limit_files; /* files open at a time; default UHYVE_LIMIT_FILES_DEFAULT */
    uint64_t limit_temp;  /* bytes the guest may create; default UHYVE_LIMIT_TEMP_DEFAULT */

    /*
     * Guest standard streams. -1 for stdin_fd: always at end of file; for an output: discarded.
     * Program output goes to stdout_fd, what the program writes to its standard error to log_fd.
     * Lines of the kernel's log go to log_fd: warnings and worse always, the rest only with
     * `verbose`; what was withheld is in uhyve_result.kernel_log. If output_fd is not -1 it
     * receives everything, unfiltered and in order, instead of the two.
     */
    int stdin_fd;
    int stdout_fd;
    int log_fd;
    int output_fd;
    bool discard_output; /* drop all guest output (overrides the descriptors above) */
    bool verbose;

    /*
     * NULL, or which hypercalls are traced to trace_fd: a list of names and groups, "" for all
     * (docs/observability.md). The descriptor may be the same as log_fd.
     */
    const char *trace;
    int trace_fd;

    /* -1, or an empty file that receives an ELF core of the guest if it crashes or panics. */
    int crash_dump_fd;

    /* A statistical profile of the guest, written to profile_fd when it has ended. */
    enum uhyve_profile profile;
    unsigned profile_rate; /* samples of each CPU per second, 1 to 10000; default 1000 */
    int profile_fd;

    /*
     * Debugging: wait for GDB before the first guest instruction, on a UNIX socket if `gdb_socket`
     * is its path, else on TCP port `gdb_port` of a loopback address (0: any that is free). A
     * message of UHYVE_LEVEL_NOTICE tells where.
     */
    bool gdb;
    uint16_t gdb_port;
    const char *gdb_socket;

    /* Called with each message of the library itself (no newline), from any of its threads. May be
     * NULL. */
    void (*message)(void *context, enum uhyve_level level, const char *text);
    void *message_context;
    enum uhyve_level
        message_level; /* least important level that is passed on; default UHYVE_LEVEL_WARN */
};

enum uhyve_outcome {
    UHYVE_EXITED,  /* the guest ended by itself: exit_code is valid */
    UHYVE_CRASHED, /* triple fault, or a state the VM cannot continue from: report tells more */
    UHYVE_STOPPED, /* uhyve_stop */
};

/* Strings belong to the VM and live until uhyve_destroy. */
struct uhyve_result {
    enum uhyve_outcome outcome;
    int exit_code; /* as the guest gave it, 32 bits */
    /*
     * Several lines about why the guest failed: always with UHYVE_CRASHED; with UHYVE_EXITED if the
     * exit code is not 0 and the guest's output tells of a panic or an exception; else NULL.
     */
    const char *report;
    const char *kernel_log;    /* last part of the kernel's log that was not shown; "" if none */
    size_t kernel_log_dropped; /* bytes of the log that were neither shown nor kept */
    int output_error;          /* 0, or the errno for which guest output was lost */
};

/* One row of the statistics: how often the guest left guest mode for this reason. */
struct uhyve_exit_count {
    const char *name;
    uint64_t total;
    const uint64_t *per_cpu; /* cpu_count entries */
};

/* What went through the guest's network card. Bytes are those of Ethernet frames. */
struct uhyve_net_stats {
    uint64_t received_frames, received_bytes; /* by the guest */
    uint64_t received_lost;                   /* too large for the guest's buffers */
    uint64_t sent_frames, sent_bytes;
    uint64_t sent_lost;  /* made no sense, or were not taken */
    uint64_t doorbells;  /* how often the guest told the card to look at its queues */
    uint64_t interrupts; /* how often the card interrupted the guest */
    uint64_t stalls;     /* how often frames had to wait for buffers of the guest */
};

/* Times are nanoseconds; 0 where the run did not get that far. */
struct uhyve_stats {
    const char *accel;
    unsigned cpu_count;
    uint64_t create_ns;         /* uhyve_create: parameters checked, image read, VM made */
    uint64_t load_ns;           /* kernel, page tables and boot information put into guest memory */
    uint64_t first_ns;          /* uhyve_create called until the first guest instruction */
    uint64_t exit_ns;           /* uhyve_create called until the guest's end was noticed */
    const uint64_t *cpu_run_ns; /* for each vCPU: time between entering and leaving its loop */
    const struct uhyve_exit_count *exits;
    size_t exit_count;
    uint64_t peak_memory; /* peak resident memory of this process, bytes */
    bool has_net;         /* there is a network card */
    struct uhyve_net_stats net;
};

struct uhyve_vm;

void uhyve_params_init(struct uhyve_params *params);

/*
 * Check the parameters, read the image, choose an accelerator and make the virtual machine. Returns
 * 0, or -errno with *error filled; then *vm is NULL.
 */
int uhyve_create(const struct uhyve_params *params, struct uhyve_vm **vm,
                 struct uhyve_error *error);

/*
 * Run the guest to its end; once for each VM. Returns 0 with *result filled (also when the guest
 * crashed), or -errno with *error filled if the VM could not be run.
 */
int uhyve_run(struct uhyve_vm *vm, struct uhyve_result *result, struct uhyve_error *error);

/* Make uhyve_run return soon with UHYVE_STOPPED, or at once if it has yet to be called.
 * Async-signal-safe. */
void uhyve_stop(struct uhyve_vm *vm);

/* Figures of the run so far; complete after uhyve_run. The arrays belong to the VM. */
void uhyve_get_stats(struct uhyve_vm *vm, struct uhyve_stats *stats);

/* Release everything. NULL is allowed. Not while uhyve_run is running. */
void uhyve_destroy(struct uhyve_vm *vm);

/*
 * Which accelerators can run a Hermit guest here: 0, or -errno with the reason in *error.
 * UHYVE_ACCEL_AUTO asks whether any can.
 */
int uhyve_probe(enum uhyve_accel accel, struct uhyve_error *error);

const char *uhyve_version(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif
