/*
 * The accelerator of fuzz_vm.c, in the place of KVM: vcpu_run executes nothing, it takes the next
 * step of this vCPU's part of the input and makes an exit of it.
 *
 * A step is a byte for its kind, modulo 8, and what belongs to it:
 *
 *   0  call           a parameter block that makes sense: which (1 byte), flags or kind (1 byte),
 *                     descriptor (1 byte), path (1 byte), buffer (1 byte), length (2 bytes)
 *   1  raw call       which (1 byte), payload (8 bytes)
 *   2  patch memory   offset in the arena (2 bytes), length (1 byte), bytes
 *   3  device memory  place (1 byte), size and direction (1 byte), value (8 bytes)
 *   4  port           which (1 byte), size, direction and count (1 byte), value (4 bytes)
 *   5  page tables    offset in the arena (2 bytes)
 *   6  let others go on
 *   7  the end        how (1 byte); mostly it is only HLT
 */
#include "fuzz_vm.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fuzz.h"
#include "hermit/hypercall.h"

#define STEPS_MAX 200

/* In the arena. */
#define PATHS   UINT64_C(0x8000) /* strings, 64 bytes each */
#define BLOCKS  UINT64_C(0x9000)
#define BUFFERS UINT64_C(0xa000)

static const char *const paths[] = {
    "/d",           "/d/f",         "/d/sub",  "/d/sub/f", "/d/link",  "/d/out",
    "/d/new",       "/t/a",         "/t/b",    "/t",       "/t/a/b",   "/",
    "..",           "/d/../secret", "/ro",     "/ro/f",    "/ro/new",  "/d/./f",
    "/t/./../t/a/", "\xff/x",       "",        "/d/f",     "/d/sub/n", "/d/sub/n/",
    "/t/c",         "d/f",          "/tmp/uh", "/d/new/x",
};

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
