/*
 * The guest that a newcomer sees: says where it is, then counts prime numbers on all CPUs and shows
 * who did how much. Application argument: the number up to which to count. Exit code 1 if the count
 * is wrong.
 */
#include <stdbool.h>

#include "lib/args.h"
#include "lib/boot.h"
#include "lib/build.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/smp.h"

/* How far to count by default: a fraction of a second. A KVM that emulates ring 0, for which the
 * builds without SSE are made, needs 0.4 us for an instruction. */
#ifdef __SSE__
#define DEFAULT_LIMIT 1000000
#else
#define DEFAULT_LIMIT 20000
#endif

#define CHUNK 1000 /* numbers a CPU takes at a time */

/* Number of primes below powers of ten and their doubles, to check the result. */
static const struct {
    uint32_t limit, primes;
} known[] = {
    {1000, 168},     {2000, 303},      {10000, 1229},     {20000, 2262},      {100000, 9592},
    {200000, 17984}, {1000000, 78498}, {2000000, 148933}, {10000000, 664579}, {20000000, 1270607},
};

static uint32_t limit;
static uint32_t next_chunk; /* first number nobody has taken */

static struct {
    uint32_t numbers; /* how many this CPU looked at */
    uint32_t primes;
    uint64_t ticks; /* of the TSC */
} results[SMP_MAX_CPUS];

static bool is_prime(uint32_t number)
{
    if (number < 4)
        return number >= 2;
    if (number % 2 == 0 || number % 3 == 0)
        return false;
    for (uint32_t divisor = 5; divisor <= number / divisor; divisor += 6)
        if (number % divisor == 0 || number % (divisor + 2) == 0)
            return false;
    return true;
}

static void count_primes(uint32_t cpu)
{
    uint64_t start = cpu_tsc();
    uint32_t numbers = 0, primes = 0;
    for (;;) {
        uint32_t first = __atomic_fetch_add(&next_chunk, CHUNK, __ATOMIC_RELAXED);
        if (first >= limit)
            break;
        uint32_t size = limit - first < CHUNK ? limit - first : CHUNK;
        for (uint32_t i = 0; i < size; i++)
            primes += is_prime(first + i);
        numbers += size;
    }
    results[cpu].numbers = numbers;
    results[cpu].primes = primes;
    results[cpu].ticks = cpu_tsc() - start;
}

/* Civil date of a Unix time in the Gregorian calendar, counting years from March, so that the leap
 * day is the last of its year. */
static void print_date(uint64_t seconds)
{
    uint64_t days = seconds / 86400 + 719468; /* since 1 March of the year 0 */
    uint64_t era = days / 146097;             /* of 400 years */
    uint64_t day_of_era = days % 146097;
    uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
                            day_of_era / 146096) /
                           365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    uint64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    uint64_t year = 400 * era + year_of_era + (month >= 10);
    month = month < 10 ? month + 3 : month - 9;
    print("%04lu-%02lu-%02lu %02lu:%02lu:%02lu UTC", year, month, day, seconds / 3600 % 24,
          seconds / 60 % 60, seconds % 60);
}

static void print_list(const char *title, const struct string_list *list)
{
    print("  %-12s", title);
    for (size_t i = 0; i < list->count; i++)
        print("%s%s", i == 0 ? "" : " ", list->item[i]);
    print("%s\n", list->count == 0 ? "none" : "");
}

static void print_machine(void)
{
    uint64_t image = boot_info->kernel_image_end - boot_info->kernel_image_start;
    uint32_t khz = boot_tsc_khz();

    print("  %-12s%u\n", "interface", guest_interface);
    print("  %-12s%u", "CPUs", smp_cpu_count());
    if (khz != 0)
        print(", time stamp counter at %u.%03u MHz", khz / 1000, khz % 1000);
    print("\n  %-12s%lu MiB from %lx\n", "memory", boot_memory_size() >> 20,
          boot_info->phys_addr_start);
    print("  %-12s%lu KiB at %lx\n", "image", (image + 1023) / 1024, boot_info->kernel_image_start);
    print("  %-12s", "started");
    print_date(boot_seconds());
    print("\n");
    print_list("arguments", &args.app);
    print_list("environment", &args.env);
}

static void print_results(uint32_t primes)
{
    uint32_t khz = boot_tsc_khz();
    for (uint32_t cpu = 0; cpu < smp_cpu_count(); cpu++) {
        print("  CPU %-3u %8u numbers %8u primes", cpu, results[cpu].numbers, results[cpu].primes);
        if (khz != 0) {
            uint64_t microseconds = results[cpu].ticks * 1000 / khz;
            print(" %6lu.%lu ms", microseconds / 1000, microseconds % 1000 / 100);
        }
        print("\n");
    }
    print("  all     %8u numbers %8u primes\n", limit, primes);
}

int main(void)
{
    args_load();
    int64_t wanted = args_number(0, DEFAULT_LIMIT);
    limit = wanted < 0 || wanted > 100000000 ? DEFAULT_LIMIT : (uint32_t)wanted;

    print("Hello from a unikernel: a program that is its own operating system.\n\n");
    print_machine();
    print("\nCounting the primes below %u:\n\n", limit);
    smp_run(count_primes);

    uint32_t primes = 0;
    for (uint32_t cpu = 0; cpu < smp_cpu_count(); cpu++)
        primes += results[cpu].primes;
    print_results(primes);

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].limit == limit && known[i].primes != primes) {
            print("\nThat is wrong: there are %u.\n", known[i].primes);
            return 1;
        }
    }
    return 0;
}
