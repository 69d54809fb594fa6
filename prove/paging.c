/*
 * Walking a guest's page tables reads guest memory through the checked way only, ends after four
 * tables, and finds a page that the address lies in.
 *
 * follow: main
 * within: any tables, any CR3, any address, RAM of any size anywhere
 * assumed: ram_read fails, or fills its buffer (see access.c)
 */
#include "prove.h"

#include "arch/x86_64/paging.c"

bool ram_read(const struct ram *ram, gpa_t gpa, void *to, size_t size)
{
    if (any_u64())
        return false;
    any_bytes(to, size);
    return true;
}

int main(void)
{
    const struct ram ram = {.base = any_u64(), .size = any_u64()};
    gpa_t gpa;
    uint64_t size;

    if (paging_translate(&ram, any_u64(), any_u64(), &gpa, &size))
        check(size >= 1 && size <= UINT64_C(1) << 30);
    return 0;
}
