/*
 * Copying the segments of a kernel and relocating it stays within the memory that the kernel is
 * given, whatever its relocation and symbol tables say.
 *
 * prove: bad_relocation symbol_value relocate_one relocate elf_load
 * follow: main
 * within: any file, any tables, kernels below 8 EiB
 * assumed: image_read writes no more than it is asked for
 */
#include "image.h"

#include "image/elf_load.c"

/*@ predicate kernel(struct loaded *loaded) =
        \valid_read(loaded) && \valid_read(loaded->elf) && \valid_read(loaded->image) &&
        loaded->elf->size <= OBJECT_MAX &&
        \valid(loaded->data + (0 .. loaded->elf->size - 1)) &&
        \separated(loaded->data + (0 .. loaded->elf->size - 1), loaded, loaded->elf,
                   loaded->image); */

/* These know how large things are; main() below is their proof. */
/*@ requires \valid_read(loaded) && \valid_read(loaded->data + (offset .. offset + 23));
    assigns \result \from loaded->data[offset .. offset + 23]; */
static Elf64_Rela read_relocation(const struct loaded *loaded, uint64_t offset);

/*@ requires \valid_read(loaded) && \valid_read(loaded->data + (offset .. offset + 23));
    assigns \result \from loaded->data[offset .. offset + 23]; */
static Elf64_Sym read_symbol(const struct loaded *loaded, uint64_t offset);

/*@ requires \valid_read(loaded) && \valid(loaded->data + (offset .. offset + 7));
    assigns loaded->data[offset .. offset + 7] \from value; */
static void write_word(const struct loaded *loaded, uint64_t offset, uint64_t value);

/*@ requires kernel(loaded);
    assigns \result \from index; */
static int bad_relocation(const struct loaded *loaded, uint64_t index, const char *what,
                          struct uhyve_error *error);

/*@ requires kernel(loaded) && \valid(value) && \valid(undefined);
    requires \separated(loaded, loaded->elf, value, undefined);
    assigns *value, *undefined, \result \from *loaded, symbol; */
static int symbol_value(const struct loaded *loaded, uint64_t index, uint32_t symbol,
                        uint64_t *value, bool *undefined, struct uhyve_error *error);

/*@ requires kernel(loaded) && \valid_read(rela);
    assigns loaded->data[0 .. loaded->elf->size - 1], \result \from *loaded, *rela; */
static int relocate_one(const struct loaded *loaded, uint64_t index, const Elf64_Rela *rela,
                        struct uhyve_error *error);

/*@ requires kernel(loaded);
    assigns loaded->data[0 .. loaded->elf->size - 1], \result \from *loaded; */
static int relocate(const struct loaded *loaded, struct uhyve_error *error);

/*@ requires \valid_read(elf) && segments(elf) && \valid_read(image) && elf->size <= OBJECT_MAX;
    requires \valid(to + (0 .. elf->size - 1));
    requires \separated(to + (0 .. elf->size - 1), elf, image);
    assigns to[0 .. elf->size - 1], \result \from *elf, *image, address; */
int elf_load(const struct elf *elf, const struct image *image, uint8_t *to, uint64_t address,
             struct uhyve_error *error);

int main(void)
{
    static uint8_t memory[256];
    const struct loaded loaded = {.data = memory};
    uint64_t offset = any_u64();

    if (offset <= sizeof memory - 24) {
        read_relocation(&loaded, offset);
        read_symbol(&loaded, offset);
    }
    if (offset <= sizeof memory - 8)
        write_word(&loaded, offset, any_u64());
    return 0;
}
