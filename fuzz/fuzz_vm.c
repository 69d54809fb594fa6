/*
 * Fuzz target: a whole virtual machine whose vCPUs do what the input says, all at the same time.
 * An accelerator of this target's own takes the place of KVM: vcpu_run executes nothing, it takes
 * the next step of this vCPU's part of the input and makes an exit of it. Everything behind that is
 * the real thing: threads, hypercalls, files, console, network card, trace, the end.
 *
 * Whatever the vCPUs do to each other, the VM comes to its end with an outcome that one of them has
 * asked for, with its temporary directory empty and all descriptors closed, and nothing of the host
 * that was not mapped was ever in guest memory.
 *
 * Input: number of vCPUs (1 byte), features (1 byte, see enum feature), then a part of equal size
 * for each vCPU, read as steps:
 *
 *   0  call              which (1 byte), flags or kind (1 byte), descriptor (1 byte), path (1
 * byte), buffer (1 byte), length (2 bytes): a parameter block that makes sense 1  raw call which (1
 * byte), payload (8 bytes) 2  patch memory      offset in the arena (2 bytes), length (1 byte),
 * bytes 3  device memory     place (1 byte), size and direction (1 byte), value (8 bytes) 4  port
 * which (1 byte), size, direction and count (1 byte), value (4 bytes) 5  page tables       offset
 * in the arena (2 bytes) 6  let others go on 7  the end           how (1 byte); in 3 of 4 cases it
 * is only HLT
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../tests/unit/elf_builder.c"
#include "accel/accel.h"
#include "fuzz.h"
#include "hermit/hypercall.h"
#include "input.h"
#include "util/error.h"

#define CPUS_MAX  4
#define STEPS_MAX 200
#define MEMORY    (16 * UHYVE_MIB)
#define ARENA_SIZE                                                                                 \
    UINT64_C(0x10000)            /* what a vCPU works with; each has one, at the end of memory */
#define PATHS   UINT64_C(0x8000) /* in the arena: strings, 64 bytes each */
#define BLOCKS  UINT64_C(0x9000)
#define BUFFERS UINT64_C(0xa000)

enum feature {
    FEATURE_NET = 1,
    FEATURE_TRACE = 2,
    FEATURE_INPUT = 4,  /* standard input has something */
    FEATURE_WAIT = 8,   /* and no end: whoever reads on waits until the VM is stopped */
    FEATURE_STOP = 16,  /* somebody else stops the VM, at some time */
    FEATURE_SHARE = 32, /* all vCPUs work with the first one's memory */
    FEATURE_V1 = 64,    /* an interface 1 kernel */
};

static const char *const paths[] = {
    "/d",           "/d/f",         "/d/sub",  "/d/sub/f", "/d/link",  "/d/out",
    "/d/new",       "/t/a",         "/t/b",    "/t",       "/t/a/b",   "/",
    "..",           "/d/../secret", "/ro",     "/ro/f",    "/ro/new",  "/d/./f",
    "/t/./../t/a/", "\xff/x",       "",        "/d/f",     "/d/sub/n", "/d/sub/n/",
    "/t/c",         "d/f",          "/tmp/uh", "/d/new/x",
};

/* A vCPU. */
struct accel_vcpu {
    unsigned index;
    gpa_t arena;
    struct input input;
    unsigned steps;
    bool finished;
    atomic_bool kicked;
    struct x86_state state;
    uint8_t data[1024];
};

/* One VM at a time. The accelerator's handles lead nowhere else. */
static struct world {
    char top[64];
    int base;  /* descriptor of the directory `top` */
    int image; /* memory files of kernels: interface 2 and later, 1 */
    int old_image;
    unsigned features;
    unsigned cpu_count;
    const struct ram *ram;
    struct accel_vcpu cpus[CPUS_MAX];
    struct uhyve_vm *vm;
    atomic_uint finished;
    atomic_uint ends; /* bit 0: an exit, 1: a crash, 2: a stop was asked for */
    unsigned messages;
} world;

/* The accelerator. */

static int vm_create(struct accel_host *host, const struct accel_vm_config *config,
                     struct accel_vm **vm, struct uhyve_error *error)
{
    world.ram = config->ram;
    for (unsigned i = 0; i < world.cpu_count; i++) {
        gpa_t arena = world.ram->base + world.ram->size - (i + 1) * ARENA_SIZE;
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++)
            require(ram_write(world.ram, arena + PATHS + 64 * k, paths[k], strlen(paths[k]) + 1));
    }
    *vm = (struct accel_vm *)&world;
    return 0;
}

static void vm_destroy(struct accel_vm *vm)
{
}

static void host_close(struct accel_host *host)
{
}

static int vm_set_irq_line(struct accel_vm *vm, unsigned line, bool level)
{
    return 0;
}

static int vcpu_create(struct accel_vm *vm, unsigned index, struct accel_vcpu **vcpu,
                       struct uhyve_error *error)
{
    unsigned share = world.features & FEATURE_SHARE ? 0 : index;

    *vcpu = &world.cpus[index];
    (*vcpu)->arena = world.ram->base + world.ram->size - (share + 1) * ARENA_SIZE;
    return 0;
}

static void vcpu_destroy(struct accel_vcpu *vcpu)
{
}

static void vcpu_kick(struct accel_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, true);
}

static int vcpu_get_state(struct accel_vcpu *vcpu, struct x86_state *state)
{
    *state = vcpu->state;
    return 0;
}

static int vcpu_set_state(struct accel_vcpu *vcpu, const struct x86_state *state)
{
    vcpu->state = *state;
    return 0;
}

static uint32_t vcpu_tsc_khz(struct accel_vcpu *vcpu)
{
    return 1000000;
}

/* Steps. */

static const uint16_t ports[] = {
    HERMIT_V2_FILE_OPEN,
    HERMIT_V2_FILE_READ,
    HERMIT_V2_FILE_WRITE,
    HERMIT_V2_FILE_CLOSE,
    HERMIT_V2_FILE_LSEEK,
    HERMIT_V2_FILE_UNLINK,
    HERMIT_V2_GETDENTS,
    HERMIT_V2_FILE_STAT,
    HERMIT_V2_FILE_FSTAT,
    HERMIT_V2_MKDIR,
    HERMIT_V2_SERIAL_WRITE_BYTE,
    HERMIT_V2_SERIAL_WRITE_BUFFER,
    HERMIT_V2_SERIAL_READ_BYTE,
    HERMIT_V2_SERIAL_READ_BUFFER,
    HERMIT_V1_FILE_WRITE,
    HERMIT_V1_FILE_OPEN,
    HERMIT_V1_FILE_CLOSE,
    HERMIT_V1_FILE_READ,
    HERMIT_V1_FILE_LSEEK,
    HERMIT_V1_FILE_UNLINK,
    HERMIT_V1_CMDSIZE,
    HERMIT_V1_CMDVAL,
    HERMIT_V1_UART,
    HERMIT_V1_SERIAL_WRITE_BUFFER,
};

#define PORTS (sizeof ports / sizeof *ports)

/* What a parameter block is made of. */
struct parameters {
    uint8_t kind;
    int32_t fd;
    gpa_t path, buffer;
    uint64_t length;
};

union block {
    struct hermit_open open;
    struct hermit_close close;
    struct hermit_unlink unlink;
    struct hermit_v2_read read;
    struct hermit_v2_write write;
    struct hermit_v2_lseek seek;
    struct hermit_getdents list;
    struct hermit_stat stat;
    struct hermit_fstat fstat;
    struct hermit_mkdir mkdir;
    struct hermit_v2_serial_write serial_write;
    struct hermit_v2_serial_read serial_read;
    struct hermit_v1_read v1_read;
    struct hermit_v1_write v1_write;
    struct hermit_v1_lseek v1_seek;
    struct hermit_v1_cmdval strings;
    struct hermit_v1_serial_write v1_serial;
};

static union block make_block(uint16_t port, const struct parameters *p)
{
    union block block = {.list.fd = -1};

    switch (port) {
    case HERMIT_V2_FILE_OPEN:
    case HERMIT_V1_FILE_OPEN:
        block.open = (struct hermit_open){p->path, (p->kind & 3) | (p->kind & 0xfc) << 4, 0600, -1};
        break;
    case HERMIT_V2_FILE_CLOSE:
    case HERMIT_V1_FILE_CLOSE:
        block.close = (struct hermit_close){p->fd, -1};
        break;
    case HERMIT_V2_FILE_UNLINK:
    case HERMIT_V1_FILE_UNLINK:
        block.unlink = (struct hermit_unlink){p->path, -1};
        break;
    case HERMIT_V2_FILE_READ:
        block.read = (struct hermit_v2_read){p->length, -1, p->buffer, p->fd, 0};
        break;
    case HERMIT_V2_FILE_WRITE:
        block.write = (struct hermit_v2_write){p->length, -1, p->buffer, p->fd, 0};
        break;
    case HERMIT_V2_FILE_LSEEK:
        block.seek = (struct hermit_v2_lseek){(int64_t)p->length - 16, p->kind % 6, p->fd};
        break;
    case HERMIT_V2_GETDENTS:
        block.list = (struct hermit_getdents){p->fd, 0, p->buffer, p->length, 0, 0, {0}};
        break;
    case HERMIT_V2_FILE_STAT:
        block.stat = (struct hermit_stat){p->path, p->kind % 3, 0, p->buffer, 0, 0};
        break;
    case HERMIT_V2_FILE_FSTAT:
        block.fstat = (struct hermit_fstat){p->fd, 0, p->buffer, 0, 0};
        break;
    case HERMIT_V2_MKDIR:
        block.mkdir = (struct hermit_mkdir){p->path, 0, 0, 0};
        break;
    case HERMIT_V2_SERIAL_WRITE_BUFFER:
        block.serial_write = (struct hermit_v2_serial_write){p->length, p->buffer};
        break;
    case HERMIT_V2_SERIAL_READ_BUFFER:
        block.serial_read = (struct hermit_v2_serial_read){p->length, 0, p->buffer};
        break;
    case HERMIT_V1_FILE_READ:
        block.v1_read = (struct hermit_v1_read){p->fd, p->buffer, p->length, -1};
        break;
    case HERMIT_V1_FILE_WRITE:
        block.v1_write = (struct hermit_v1_write){p->fd, p->buffer, p->length};
        break;
    case HERMIT_V1_FILE_LSEEK:
        block.v1_seek = (struct hermit_v1_lseek){p->fd, (int64_t)p->length - 16, p->kind % 6};
        break;
    case HERMIT_V1_CMDVAL:
        block.strings = (struct hermit_v1_cmdval){p->buffer, p->buffer + 256};
        break;
    case HERMIT_V1_SERIAL_WRITE_BUFFER:
        block.v1_serial = (struct hermit_v1_serial_write){p->buffer, p->length};
        break;
    }
    return block;
}

static void set_call(struct accel_vcpu *vcpu, struct accel_exit *exit, uint16_t port,
                     uint64_t payload)
{
    uint32_t eax = (uint32_t)payload;

    memcpy(vcpu->data, &eax, sizeof eax);
    exit->kind = ACCEL_EXIT_IO;
    exit->io.port = port;
    exit->io.size = port == HERMIT_V1_UART ? 1 : 4;
    exit->io.in = false;
    exit->io.count = 1;
    exit->io.data = vcpu->data;
    exit->io.rdi = payload;
}

static void step_call(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    struct input *input = &vcpu->input;
    uint16_t port = ports[take(input, 1) % PORTS];
    struct parameters p = {.kind = (uint8_t)take(input, 1)};

    p.fd = (int32_t)(take(input, 1) % 20) - 1;
    p.path = vcpu->arena + PATHS + 64 * (take(input, 1) % 30);
    p.buffer = vcpu->arena + BUFFERS + 512 * (take(input, 1) % 16);
    p.length = take(input, 2);
    union block block = make_block(port, &p);
    gpa_t place = vcpu->arena + BLOCKS + 64 * (p.kind & 7u);
    if (port == HERMIT_V2_SERIAL_WRITE_BYTE || port == HERMIT_V1_UART)
        place = p.length;
    else if (port != HERMIT_V1_CMDSIZE)
        ram_write(world.ram, place, &block, sizeof block);
    set_call(vcpu, exit, port, place);
}

static void step_patch(struct accel_vcpu *vcpu)
{
    uint64_t offset = take(&vcpu->input, 2);
    struct input bytes = take_bytes(&vcpu->input, take(&vcpu->input, 1));

    if (bytes.size <= ARENA_SIZE - offset)
        ram_write(world.ram, vcpu->arena + offset, bytes.bytes, bytes.size);
}

static void step_memory(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    static const gpa_t places[] = {0xfe000000, 0x9f000, 0xfee00000, 0, UINT64_MAX - 3, 0xfec00000};
    uint64_t place = take(&vcpu->input, 1), way = take(&vcpu->input, 1);
    uint64_t value = take(&vcpu->input, 8);

    memcpy(vcpu->data, &value, sizeof value);
    exit->kind = ACCEL_EXIT_MMIO;
    /* Mostly the network card's registers. */
    exit->mmio.gpa = place < 250 ? places[0] + place : places[place % 6];
    exit->mmio.size = (uint8_t)(1 + way % 8);
    exit->mmio.write = way & 128;
    exit->mmio.data = vcpu->data;
}

static void step_port(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    static const uint16_t others[] = {0xcf8, 0xcfc, 0xcfd, 0xcfe, 0xcff, 0xcf9, 0xee, 0x20, 0xffff};
    static const uint8_t sizes[] = {1, 2, 4};
    uint64_t which = take(&vcpu->input, 1), way = take(&vcpu->input, 1);
    uint64_t value = take(&vcpu->input, 4);

    exit->kind = ACCEL_EXIT_IO;
    exit->io.port = which < 200 ? others[which % 9] : ports[which % PORTS];
    exit->io.size = sizes[way % 3];
    exit->io.in = way & 128;
    exit->io.count = way & 64 ? (uint32_t)(way & 31) : 1;
    exit->io.data = vcpu->data;
    exit->io.rdi = vcpu->arena + BLOCKS;
    exit->queued = false;
    for (size_t i = 0; i < sizeof vcpu->data; i += 4)
        memcpy(vcpu->data + i, &value, 4);
    if (exit->io.port == 0xcf8 && !exit->io.in)
        vcpu->data[3] = 0x80;
}

static void step_end(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    uint64_t how = take(&vcpu->input, 1);

    exit->kind = ACCEL_EXIT_HALT;
    switch (how) {
    case 0:
        atomic_fetch_or(&world.ends, 1);
        set_call(vcpu, exit, HERMIT_V2_EXIT, vcpu->steps);
        break;
    case 1:
        atomic_fetch_or(&world.ends, 1);
        set_call(vcpu, exit, HERMIT_V1_EXIT, vcpu->arena);
        break;
    case 2:
        atomic_fetch_or(&world.ends, 2);
        exit->kind = ACCEL_EXIT_SHUTDOWN;
        break;
    case 3:
        atomic_fetch_or(&world.ends, 2);
        exit->kind = ACCEL_EXIT_FAILED;
        snprintf(exit->reason, sizeof exit->reason, "the input says so");
        break;
    case 4:
        atomic_fetch_or(&world.ends, 4);
        uhyve_stop(world.vm);
        break;
    }
}

/* Nothing more to do: the last one stops the VM, the others wait for that. */
static void wait_for_end(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    if (!vcpu->finished) {
        vcpu->finished = true;
        if (atomic_fetch_add(&world.finished, 1) + 1 == world.cpu_count) {
            atomic_fetch_or(&world.ends, 4);
            uhyve_stop(world.vm);
        }
    }
    while (!atomic_load(&vcpu->kicked))
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    exit->kind = ACCEL_EXIT_INTERRUPTED;
}

static void vcpu_run(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    exit->kind = ACCEL_EXIT_HALT;
    exit->queued = exit->state_lost = false;
    if (atomic_exchange(&vcpu->kicked, false)) {
        exit->kind = ACCEL_EXIT_INTERRUPTED;
        return;
    }
    if (vcpu->steps == STEPS_MAX || !vcpu->input.size) {
        wait_for_end(vcpu, exit);
        return;
    }
    vcpu->steps++;
    switch (take(&vcpu->input, 1) % 8) {
    case 0:
        step_call(vcpu, exit);
        break;
    case 1: {
        uint16_t port = ports[take(&vcpu->input, 1) % PORTS];
        set_call(vcpu, exit, port, take(&vcpu->input, 8));
        break;
    }
    case 2:
        step_patch(vcpu);
        break;
    case 3:
        step_memory(vcpu, exit);
        break;
    case 4:
        step_port(vcpu, exit);
        break;
    case 5:
        vcpu->state.cr3 = vcpu->arena + (take(&vcpu->input, 2) & 0xf000);
        break;
    case 6:
        sched_yield();
        break;
    case 7:
        step_end(vcpu, exit);
        break;
    }
}

static const struct accel fake = {
    .name = "fuzz",
    .host_close = host_close,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .vm_set_irq_line = vm_set_irq_line,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .vcpu_run = vcpu_run,
    .vcpu_kick = vcpu_kick,
    .vcpu_get_state = vcpu_get_state,
    .vcpu_set_state = vcpu_set_state,
    .vcpu_tsc_khz = vcpu_tsc_khz,
};

/* In place of accel/select.c. */

int accel_select(enum uhyve_accel wanted, const struct log *log, struct accel_choice *choice,
                 struct uhyve_error *error)
{
    *choice = (struct accel_choice){.accel = &fake};
    return 0;
}

void accel_release(struct accel_choice *choice)
{
    *choice = (struct accel_choice){0};
}

int uhyve_probe(enum uhyve_accel wanted, struct uhyve_error *error)
{
    return 0;
}

/* The host. */

/* What is in the file that the guest may not read; it is never compared with, or the fuzzer would
 * learn it and write it there itself. */
#define SECRET      "Sesame 7"
#define SECRET_HASH (UINT64_C(0x3720656d61736553) * HASH_FACTOR)
#define HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static void put(int base, const char *path, const char *content)
{
    int fd = openat(base, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
}

static const char *const made[] = {"d/sub/f", "d/sub/n", "d/f",    "d/new/x", "d/new",
                                   "d/link",  "d/out",   "secret", "socket"};

static void remove_made(void)
{
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (unlinkat(world.base, made[i], 0) != 0)
            unlinkat(world.base, made[i], AT_REMOVEDIR);
}

static void remove_top(void)
{
    static const char *const directories[] = {"d/sub", "d", "temp"};
    remove_made();
    for (size_t i = 0; i < 3; i++)
        unlinkat(world.base, directories[i], AT_REMOVEDIR);
    rmdir(world.top);
}

static int make_image(unsigned interface)
{
    static struct elf_builder builder;
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    builder_init(&builder, ET_DYN, interface);
    require(fd >= 0 && write(fd, builder.file, builder.size) == (ssize_t)builder.size);
    return fd;
}

/* What the guest may have changed is made anew. */
static void prepare_host(void)
{
    if (!world.top[0]) {
        strcpy(world.top, "/tmp/fuzz_vm.XXXXXX");
        require(mkdtemp(world.top) != NULL);
        world.base = open(world.top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        require(world.base >= 0 && mkdirat(world.base, "temp", 0700) == 0);
        require(mkdirat(world.base, "d", 0700) == 0 && mkdirat(world.base, "d/sub", 0700) == 0);
        world.image = make_image(3);
        world.old_image = make_image(1);
        atexit(remove_top);
    }
    remove_made();
    put(world.base, "d/f", "inside");
    put(world.base, "d/sub/f", "inside");
    put(world.base, "secret", SECRET);
    require(symlinkat("sub/f", world.base, "d/link") == 0);
    require(symlinkat("../secret", world.base, "d/out") == 0);
}

static void take_message(void *context, enum uhyve_level level, const char *text)
{
    require(text[0] && !strchr(text, '\n'));
}

static int open_input(unsigned features, int *other_end)
{
    int ends[2];

    *other_end = -1;
    if (!(features & FEATURE_INPUT))
        return -1;
    require(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "what is typed\n", 14) == 14);
    if (features & FEATURE_WAIT)
        *other_end = ends[1];
    else
        close(ends[1]);
    return ends[0];
}

/* The other side of the network: it has sent some frames, and hangs up at the end. */
static int open_peer(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    require(listen(fd, 1) == 0);
    return fd;
}

static int accept_peer(int listener)
{
    uint8_t frame[4 + 60] = {0, 0, 0, 60};
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    require(fd >= 0);
    for (unsigned i = 0; i < 3; i++)
        require(send(fd, frame, sizeof frame, MSG_NOSIGNAL) == sizeof frame);
    close(listener);
    return fd;
}

static void *stop_soon(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(uintptr_t)argument}, NULL);
    atomic_fetch_or(&world.ends, 4);
    uhyve_stop(world.vm);
    return NULL;
}

static bool holds_secret(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i++) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        if (word * HASH_FACTOR == SECRET_HASH)
            return true;
    }
    return false;
}

static void check_result(const struct uhyve_result *result)
{
    unsigned ends = atomic_load(&world.ends);
    uint64_t arenas = world.cpu_count * ARENA_SIZE;

    require(result->outcome != UHYVE_EXITED || ends & 1);
    require(result->outcome != UHYVE_CRASHED || result->report);
    require(result->outcome != UHYVE_STOPPED || ends & 4);
    require(!holds_secret(world.ram->host + world.ram->size - arenas, arenas));
}

static void run_vm(void)
{
    struct uhyve_result result;
    struct uhyve_error error;
    pthread_t stopper;
    /* A reader that waits for more input needs somebody who stops the VM. */
    bool stop = world.features & (FEATURE_STOP | FEATURE_WAIT);

    if (stop)
        require(pthread_create(&stopper, NULL, stop_soon, (void *)(uintptr_t)500000) == 0);
    require(uhyve_run(world.vm, &result, &error) == 0);
    if (stop)
        pthread_join(stopper, NULL);
    check_result(&result);
}

static void share_input(struct input input)
{
    size_t part = input.size / world.cpu_count;

    for (unsigned i = 0; i < world.cpu_count; i++)
        world.cpus[i] = (struct accel_vcpu){.index = i, .input = {input.bytes + i * part, part}};
}

static void run(struct uhyve_params *params)
{
    char socket_path[96];
    int listener = -1, peer = -1, other_end;
    struct uhyve_error error;

    params->stdin_fd = open_input(world.features, &other_end);
    if (world.features & FEATURE_NET) {
        snprintf(socket_path, sizeof socket_path, "%s/socket", world.top);
        listener = open_peer(socket_path);
        params->net = (struct uhyve_net){.kind = UHYVE_NET_SOCKET, .name = socket_path};
    }
    require(uhyve_create(params, &world.vm, &error) == 0);
    if (listener >= 0)
        peer = accept_peer(listener);
    run_vm();
    uhyve_destroy(world.vm);
    if (peer >= 0)
        close(peer);
    if (params->stdin_fd >= 0)
        close(params->stdin_fd);
    if (other_end >= 0)
        close(other_end);
}

/* The lowest free descriptor: nothing below is left open by one VM or another. */
static int lowest_descriptor(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const words[] = {"an argument", "--", "another"};
    char directory[96], temp[96], image[40];
    struct input input = {bytes, size};
    struct uhyve_params params;

    prepare_host();
    world.cpu_count = 1 + take(&input, 1) % CPUS_MAX;
    world.features = (unsigned)take(&input, 1);
#ifdef __SANITIZE_THREAD__
    /* Whoever shares memory races, and so do the card and its driver, as guests may. */
    world.features &= ~(unsigned)(FEATURE_SHARE | FEATURE_NET);
#endif
    atomic_store(&world.finished, 0);
    atomic_store(&world.ends, 0);
    share_input(input);
    snprintf(directory, sizeof directory, "%s/d", world.top);
    snprintf(temp, sizeof temp, "%s/temp", world.top);
    snprintf(image, sizeof image, "/proc/self/fd/%d",
             world.features & FEATURE_V1 ? world.old_image : world.image);
    const struct uhyve_file_mapping mappings[] = {{directory, "/d", false},
                                                  {directory, "/ro", true}};
    uhyve_params_init(&params);
    params.image = image;
    params.memory_size = MEMORY;
    params.cpu_count = world.cpu_count;
    params.aslr = false;
    params.file_mappings = mappings;
    params.file_mapping_count = 2;
    params.tempdir = temp;
    params.limit_files = 12;
    params.limit_temp = 65536;
    params.app_args = words;
    params.app_arg_count = 3;
    params.message = take_message;
    params.message_level = UHYVE_LEVEL_DEBUG;
    int trace = world.features & FEATURE_TRACE ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
    params.trace = trace >= 0 ? "" : NULL;
    params.trace_fd = trace;
    int lowest = lowest_descriptor();
    run(&params);
    require(lowest_descriptor() == lowest);
    if (trace >= 0)
        close(trace);
    require(unlinkat(world.base, "temp", AT_REMOVEDIR) == 0);
    require(mkdirat(world.base, "temp", 0700) == 0);
    return 0;
}
