/*
 * The floor that uhyve is measured against: the least that a program must do to run one piece of
 * 64-bit guest code under KVM, written plainly and without tricks. It makes the same kind of VM as
 * uhyve does (memory at 4 GiB, in-kernel interrupt controllers, CPUID, the boot state of
 * spec/boot.md section 5) but reads no image, knows no hypercalls and checks nothing that the guest
 * does. With one vCPU it has one thread.
 *
 *     bare_kvm [-m MIB] [-c CPUS] first    the guest's first instruction is an OUT: write one byte
 *                                          to standard output when it arrives, and end
 *     bare_kvm [-m MIB] [-c CPUS] out N    let the guest execute N OUTs, print the nanoseconds of
 *                                          one round trip
 *     bare_kvm [-m MIB] [-c CPUS] in N     the same with INs
 *
 * Exit status: 0, 2 for wrong arguments, 77 if this machine has no usable KVM, 1 for other
 * failures.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EXIT_NO_KVM 77

#define RAM_BASE     UINT64_C(0x100000000)
#define PML4_OFFSET  0x10000
#define PDPT_OFFSET  0x11000
#define PD_OFFSET    0x12000
#define CODE_OFFSET  0x40000
#define PAGE_PRESENT 0x3  /* present, writable */
#define PAGE_HUGE    0x83 /* present, writable, 2 MiB */

#define MSR_MISC_ENABLE       0x1a0
#define MISC_ENABLE_STRINGS   1
#define CPUID_ENTRIES         128
#define CPUID_1_ECX_ADDITIONS (UINT32_C(1) << 31 | UINT32_C(1) << 24) /* hypervisor, deadline */

#define PORT_WORK 0x1000 /* the round trip that is measured */
#define PORT_DONE 0x1001 /* the guest has finished */

/* Guest code: position-independent; RDX holds PORT_WORK and RCX the number of round trips. */
__asm__(".pushsection .rodata\n"
        "guest_out:\n"
        "1: outl %eax, %dx\n"
        "   decq %rcx\n"
        "   jnz 1b\n"
        "   incl %edx\n"
        "   outl %eax, %dx\n"
        "guest_in:\n"
        "1: inl %dx, %eax\n"
        "   decq %rcx\n"
        "   jnz 1b\n"
        "   incl %edx\n"
        "   outl %eax, %dx\n"
        "guest_halt:\n"
        "1: cli\n"
        "   hlt\n"
        "   jmp 1b\n"
        "guest_end:\n"
        ".popsection\n");
extern const uint8_t guest_out[], guest_in[], guest_halt[], guest_end[];

struct vcpu {
    int fd;
    struct kvm_run *run;
};

static void fail(int status, const char *what)
{
    fprintf(stderr, "bare_kvm: %s: %s\n", what, strerror(errno));
    exit(status);
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void fill_ram(uint8_t *ram)
{
    uint64_t *pml4 = (uint64_t *)(ram + PML4_OFFSET);
    uint64_t *pdpt = (uint64_t *)(ram + PDPT_OFFSET);
    uint64_t *pd = (uint64_t *)(ram + PD_OFFSET);

    pml4[0] = (RAM_BASE + PDPT_OFFSET) | PAGE_PRESENT;
    pdpt[RAM_BASE >> 30] = (RAM_BASE + PD_OFFSET) | PAGE_PRESENT;
    pd[0] = RAM_BASE | PAGE_HUGE;
    memcpy(ram + CODE_OFFSET, guest_out, (size_t)(guest_end - guest_out));
}

static int make_vm(int kvm, uint64_t memory_size)
{
    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        fail(EXIT_NO_KVM, "cannot create a virtual machine");

    uint8_t *ram = mmap(NULL, memory_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (ram == MAP_FAILED)
        fail(1, "cannot reserve guest memory");
    struct kvm_userspace_memory_region region = {
        .guest_phys_addr = RAM_BASE,
        .memory_size = memory_size,
        .userspace_addr = (uint64_t)ram,
    };
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region))
        fail(1, "KVM_SET_USER_MEMORY_REGION");
    if (ioctl(vm, KVM_CREATE_IRQCHIP, 0))
        fail(1, "KVM_CREATE_IRQCHIP");
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X2APIC_API,
        .args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
    };
    if (ioctl(vm, KVM_ENABLE_CAP, &cap))
        fail(1, "KVM_CAP_X2APIC_API");
    fill_ram(ram);
    return vm;
}

static struct kvm_cpuid2 *supported_cpuid(int kvm)
{
    struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) +
                                             CPUID_ENTRIES * sizeof(struct kvm_cpuid_entry2));
    if (!cpuid)
        fail(1, "cannot allocate memory");
    cpuid->nent = CPUID_ENTRIES;
    if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, cpuid))
        fail(1, "KVM_GET_SUPPORTED_CPUID");
    for (unsigned i = 0; i < cpuid->nent; i++) {
        if (cpuid->entries[i].function == 1)
            cpuid->entries[i].ecx |= CPUID_1_ECX_ADDITIONS;
    }
    return cpuid;
}

static void set_msrs(const struct vcpu *vcpu)
{
    struct kvm_msrs *msrs = calloc(1, sizeof(*msrs) + sizeof(struct kvm_msr_entry));
    if (!msrs)
        fail(1, "cannot allocate memory");
    msrs->nmsrs = 1;
    msrs->entries[0].index = MSR_MISC_ENABLE;
    msrs->entries[0].data = MISC_ENABLE_STRINGS;
    if (ioctl(vcpu->fd, KVM_SET_MSRS, msrs) != 1)
        fail(1, "KVM_SET_MSRS");
    free(msrs);
}

static void set_system_registers(const struct vcpu *vcpu)
{
    struct kvm_sregs sregs;
    if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
        fail(1, "KVM_GET_SREGS");
    struct kvm_segment segment = {
        .limit = 0xffffffff,
        .selector = 8,
        .type = 11,
        .present = 1,
        .s = 1,
        .l = 1,
        .g = 1,
    };
    sregs.cs = segment;
    segment.selector = 16;
    segment.type = 3;
    segment.l = 0;
    sregs.ds = sregs.es = sregs.ss = segment;
    sregs.cr0 = 0x80000031;
    sregs.cr3 = RAM_BASE + PML4_OFFSET;
    sregs.cr4 = 0x20;
    sregs.efer = 0xd00;
    if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
        fail(1, "KVM_SET_SREGS");
}

static struct vcpu make_vcpu(int vm, int run_size, unsigned index, struct kvm_cpuid2 *cpuid,
                             const uint8_t *code, uint64_t count)
{
    struct vcpu vcpu = {.fd = ioctl(vm, KVM_CREATE_VCPU, index)};
    if (vcpu.fd < 0)
        fail(1, "KVM_CREATE_VCPU");
    vcpu.run = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu.fd, 0);
    if (vcpu.run == MAP_FAILED)
        fail(1, "cannot map the vCPU");
    if (ioctl(vcpu.fd, KVM_SET_CPUID2, cpuid))
        fail(1, "KVM_SET_CPUID2");

    set_msrs(&vcpu);
    set_system_registers(&vcpu);

    struct kvm_regs regs = {
        .rip = RAM_BASE + CODE_OFFSET + (uint64_t)(code - guest_out),
        .rsp = RAM_BASE + CODE_OFFSET,
        .rflags = 2,
        .rcx = count,
        .rdx = PORT_WORK,
        .rsi = index,
    };
    if (ioctl(vcpu.fd, KVM_SET_REGS, &regs))
        fail(1, "KVM_SET_REGS");
    struct kvm_mp_state state = {.mp_state = KVM_MP_STATE_RUNNABLE};
    if (ioctl(vcpu.fd, KVM_SET_MP_STATE, &state))
        fail(1, "KVM_SET_MP_STATE");
    return vcpu;
}

/* Run until the guest touches PORT_DONE, or any port if `first`. */
static void run_vcpu(const struct vcpu *vcpu, int first)
{
    struct kvm_run *run = vcpu->run;
    for (;;) {
        if (ioctl(vcpu->fd, KVM_RUN, 0))
            fail(1, "KVM_RUN");
        if (run->exit_reason != KVM_EXIT_IO) {
            fprintf(stderr, "bare_kvm: unexpected exit %u\n", run->exit_reason);
            exit(1);
        }
        if (first || run->io.port == PORT_DONE)
            return;
    }
}

static void *secondary_main(void *argument)
{
    run_vcpu(argument, 0);
    return NULL;
}

static void start_secondaries(struct vcpu *vcpus, unsigned count)
{
    for (unsigned i = 1; i < count; i++) {
        pthread_t thread;
        errno = pthread_create(&thread, NULL, secondary_main, &vcpus[i]);
        if (errno)
            fail(1, "cannot start a thread");
    }
}

struct options {
    uint64_t memory_mib;
    unsigned cpu_count;
    int first;
    const uint8_t *code; /* what vCPU 0 executes */
    uint64_t count;      /* round trips */
};

static void usage(void)
{
    fputs("usage: bare_kvm [-m MIB] [-c CPUS] first | out N | in N\n", stderr);
    exit(2);
}

static struct options parse_options(int argc, char **argv)
{
    struct options options = {.memory_mib = 512, .cpu_count = 1, .code = guest_out, .count = 1};
    for (int option; (option = getopt(argc, argv, "m:c:")) != -1;) {
        if (option == 'm')
            options.memory_mib = strtoul(optarg, NULL, 10);
        else if (option == 'c')
            options.cpu_count = (unsigned)strtoul(optarg, NULL, 10);
        else
            usage();
    }
    if (optind == argc || !options.memory_mib || !options.cpu_count)
        usage();

    const char *mode = argv[optind];
    options.first = strcmp(mode, "first") == 0;
    if (options.first)
        return options;
    if (optind + 1 < argc)
        options.count = strtoul(argv[optind + 1], NULL, 10);
    if (strcmp(mode, "in") == 0)
        options.code = guest_in;
    else if (strcmp(mode, "out") != 0)
        usage();
    if (optind + 1 == argc || !options.count)
        usage();
    return options;
}

int main(int argc, char **argv)
{
    struct options options = parse_options(argc, argv);

    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        fail(EXIT_NO_KVM, "cannot open /dev/kvm");
    int vm = make_vm(kvm, options.memory_mib << 20);
    int run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < 0)
        fail(1, "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_cpuid2 *cpuid = supported_cpuid(kvm);
    struct vcpu *vcpus = calloc(options.cpu_count, sizeof(*vcpus));
    if (!vcpus)
        fail(1, "cannot allocate memory");
    for (unsigned i = 0; i < options.cpu_count; i++) {
        const uint8_t *code = i == 0 ? options.code : guest_halt;
        vcpus[i] = make_vcpu(vm, run_size, i, cpuid, code, options.count);
    }
    start_secondaries(vcpus, options.cpu_count);

    uint64_t begin = now_ns();
    run_vcpu(&vcpus[0], options.first);
    if (options.first)
        return write(STDOUT_FILENO, ">", 1) == 1 ? 0 : 1;
    printf("%.1f\n", (double)(now_ns() - begin) / (double)options.count);
    return 0;
}
