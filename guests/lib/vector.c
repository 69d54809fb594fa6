#include "lib/vector.h"

#include "lib/cpu.h"

#define CPUID_1_ECX_XSAVE   (1u << 26)
#define CPUID_7_EBX_AVX2    (1u << 5)
#define CPUID_7_EBX_AVX512F (1u << 16)
#define CR4_OSXSAVE         (UINT64_C(1) << 18)
#define XCR0_X87_SSE_AVX    0x07u
#define XCR0_AVX512         0xe0u

bool vector_enable(enum vector_level level)
{
    uint32_t wanted = level == VECTOR_AVX512 ? CPUID_7_EBX_AVX512F : CPUID_7_EBX_AVX2;
    uint32_t components = XCR0_X87_SSE_AVX | (level == VECTOR_AVX512 ? XCR0_AVX512 : 0);
    uint64_t cr4;

    if (level == VECTOR_SSE2)
        return true;
    if (!(cpu_id(1, 0).ecx & CPUID_1_ECX_XSAVE) || !(cpu_id(7, 0).ebx & wanted) ||
        (cpu_id(0xd, 0).eax & components) != components)
        return false;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE) : "memory");
    __asm__ volatile("xsetbv" : : "a"(components), "d"(0), "c"(0));
    return true;
}
