/*
 * Fuzz target: what the process of the accelerator 'direct' tells the VMM, when a guest has taken
 * that process over: exits, port writes that came before, samples, requests to prepare pages, and
 * all the memory that the two share. Exits that come out of it are within the bounds that the rest
 * of the VMM relies on.
 *
 * Input: steps: what (1 byte): 0 an exit: kind (1), size, event, slot (1 each), port (2), address
 * (8), data (8); 1 port writes: number (1), for each port (2), size (1), data (4); 2 a sample:
 * ready (1), depth (4), an address (8); 3 memory of the guest: offset (2), length (1), bytes; 4 the
 * list of patches: index (2), entry (8); 5 the kinds of pages: page (1), kind (1); 6 code was
 * written: offset (2), length (2), 7 code is read: the same.
 */
#include "accel/direct/vcpu.c" /* its insides are what is of interest */

#include <sys/mman.h>

#include "fuzz.h"
#include "input.h"

#define STEPS_MAX 200
#define BASE      UINT64_C(0x100000000)
#define RAM_SIZE  UINT64_C(0x10000)
#define WHOLE     (DIRECT_PAGE_KINDS + RAM_SIZE / DIRECT_PAGE)

static struct accel_vm vm;
static struct accel_vcpu vcpu;
static struct ram ram;

static void set_up(void)
{
    static const struct log silent;
    static uint8_t *control;

    if (!control)
        control = mmap(NULL, WHOLE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(control != MAP_FAILED);
    /* What an input can have touched. */
    memset(control, 0, 2 * DIRECT_PAGE);
    memset(control + DIRECT_AREA, 0, DIRECT_AREA_STATES + DIRECT_PAGE);
    memset(control + DIRECT_SITES, 0, DIRECT_SITES_MAX > 65536 ? 8 * 65536 : 8 * DIRECT_SITES_MAX);
    memset(control + DIRECT_PAGE_KINDS, 0, RAM_SIZE / DIRECT_PAGE);
    ram = (struct ram){.base = BASE, .size = RAM_SIZE, .host = aligned_alloc(4096, RAM_SIZE)};
    require(ram.host != NULL);
    memset(ram.host, 0, RAM_SIZE);
    vm = (struct accel_vm){.ram = &ram,
                           .log = &silent,
                           .cpu_count = 1,
                           .control = control,
                           .control_size = WHOLE,
                           .header = (struct direct_header *)(void *)control,
                           .debugged = true};
    vcpu = (struct accel_vcpu){.vm = &vm, .shared = vm_shared_vcpu(&vm, 0)};
    vm.vcpus[0] = &vcpu;
    pthread_mutex_init(&vm.lock, NULL);
    /* Nobody answers: whoever waits for the process finds it dead. */
    vm.process.dead = true;
}

static void check_exit(const struct accel_exit *exit)
{
    uint8_t sum = 0;

    switch (exit->kind) {
    case ACCEL_EXIT_IO:
        require(exit->io.size == 1 || exit->io.size == 2 || exit->io.size == 4);
        require(exit->io.count >= 1 && (exit->queued || exit->io.count == 1));
        for (size_t i = 0; i < (size_t)exit->io.size * exit->io.count; i++)
            sum += exit->io.data[i];
        if (exit->io.in)
            memset(exit->io.data, sum, exit->io.size);
        break;
    case ACCEL_EXIT_MMIO:
        require(exit->mmio.size >= 1 && exit->mmio.size <= 8);
        memset(exit->mmio.data, sum, exit->mmio.size);
        break;
    case ACCEL_EXIT_DEBUG:
        require(exit->debug.event <= ACCEL_DEBUG_HARDWARE);
        require(exit->debug.slot < ACCEL_HARDWARE_BREAKPOINTS);
        break;
    case ACCEL_EXIT_FAILED:
        require(strnlen(exit->reason, sizeof exit->reason) < sizeof exit->reason);
        for (const char *c = exit->reason; *c; c++)
            require((unsigned char)*c >= ' ');
        break;
    case ACCEL_EXIT_SHUTDOWN:
    case ACCEL_EXIT_INTERRUPTED:
        break;
    default:
        require(!"an exit of this kind");
    }
}

/* The engine gives the turn away. */
static void step_exit(struct input *input)
{
    struct direct_exit *to = &vcpu.shared->exit;
    uint64_t kind = take(input, 1);
    struct accel_exit exit = {0};

    to->kind = (uint32_t)kind & 15;
    to->size = (uint32_t)take(input, 1);
    to->event = (uint32_t)take(input, 1);
    to->slot = (uint32_t)take(input, 1);
    to->write = kind >> 4;
    to->port = (uint32_t)take(input, 2) << (kind & 0x80 ? 4 : 0);
    to->gpa = take(input, 8);
    if (to->kind == DIRECT_EXIT_SWEEP && !(kind & 0x40))
        to->gpa = BASE + to->gpa % RAM_SIZE;
    uint64_t data = take(input, 8);
    for (size_t i = 0; i < sizeof to->reason; i++)
        to->reason[i] = (char)(data >> (i % 8 * 8));
    memcpy(to->data, &data, sizeof data);
    vcpu.held = *to;
    vcpu.holds = true;
    take_writes(&vcpu);
    do {
        direct_vcpu_run(&vcpu, &exit);
        check_exit(&exit);
    } while (vcpu.holds);
}

static void step_writes(struct input *input)
{
    struct trampoline_state *state = (void *)(vm.control + DIRECT_AREA + DIRECT_AREA_STATES);
    uint64_t count = take(input, 1);

    vcpu.shared->writes = (uint32_t)(count > 200 ? count << 20 : count);
    for (uint64_t i = 0; i < count % 32 && i < TRAMPOLINE_WRITES && input->size; i++) {
        state->writes[i].port = (uint16_t)take(input, 2);
        state->writes[i].size = (uint8_t)take(input, 1);
        state->writes[i].data = (uint32_t)take(input, 4);
    }
}

static void step_sample(struct input *input)
{
    struct direct_sample *from = &vcpu.shared->sample;
    struct accel_sample sample;

    from->ready = (uint32_t)take(input, 1);
    from->depth = (uint32_t)take(input, 4);
    from->stack[from->depth % DIRECT_SAMPLE_DEPTH] = take(input, 8);
    vcpu.shared->mode = from->ready >> 4 & 3;
    if (direct_vcpu_sample(&vcpu, &sample))
        require(sample.idle || sample.depth <= ACCEL_SAMPLE_DEPTH);
}

static void step_patches(struct input *input)
{
    uint64_t index = take(input, 2), entry = take(input, 8);
    uint64_t *sites = (uint64_t *)(void *)(vm.control + DIRECT_SITES);

    sites[index % 1024] = entry & 1 ? entry : (BASE + entry % RAM_SIZE) << 8 | 0x90;
}

static void step(struct input *input)
{
    static uint8_t copy[RAM_SIZE];
    uint64_t what = take(input, 1), offset, size;

    switch (what % 8) {
    case 0:
        step_exit(input);
        return;
    case 1:
        step_writes(input);
        return;
    case 2:
        step_sample(input);
        return;
    case 4:
        step_patches(input);
        return;
    case 5:
        offset = take(input, 1) % (RAM_SIZE / DIRECT_PAGE);
        vm.control[DIRECT_PAGE_KINDS + offset] = (uint8_t)take(input, 1);
        return;
    }
    offset = take(input, 2);
    size = take(input, what % 8 == 3 ? 1 : 2) % (RAM_SIZE - offset + 1);
    if (what % 8 == 3) {
        struct input bytes = take_bytes(input, size);
        if (bytes.size)
            memcpy(ram.host + offset, bytes.bytes, bytes.size);
    } else if (what % 8 == 6) {
        code_written(&vm, BASE + offset, size);
    } else {
        memcpy(copy, ram.host + offset, size);
        code_original(&vm, BASE + offset, copy, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};

    set_up();
    for (unsigned i = 0; i < STEPS_MAX && input.size; i++) {
        step(&input);
        require(vm.site_count <= DIRECT_SITES_MAX);
        require(pthread_mutex_trylock(&vm.lock) == 0);
        pthread_mutex_unlock(&vm.lock);
    }
    pthread_mutex_destroy(&vm.lock);
    free(ram.host);
    return 0;
}
