/*
 * A Hermit kernel as an ELF file: what can be read from its headers and notes before anything is
 * loaded, and the loading itself (spec/boot.md sections 1.2 to 1.6). The file is untrusted:
 * everything here is checked before use.
 */
#ifndef IMAGE_ELF_H
#define IMAGE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "uhyve.h"

#define ELF_MAX_LOADS 64

struct elf_load {
    uint64_t offset; /* in the file */
    uint64_t vaddr;
    uint64_t filesz;
    uint64_t memsz;
    uint32_t flags; /* PF_R, PF_W, PF_X */
};

struct elf_tls {
    uint64_t vaddr; /* all zero: no TLS segment */
    uint64_t filesz;
    uint64_t memsz;
    uint64_t align;
};

struct elf_version {
    bool known; /* the image carries an ABI tag */
    uint32_t major, minor, patch;
};

/* Plain values without pointers: copy it freely, nothing to release. */
struct elf {
    bool relocatable;                    /* ET_DYN; else ET_EXEC */
    bool standalone_osabi;               /* EI_OSABI is the expected 255 */
    uint64_t entry;                      /* vaddr */
    uint64_t start;                      /* vaddr of the first loaded byte; 0 if relocatable */
    uint64_t size;                       /* bytes from start to the end of the last segment */
    struct elf_load load[ELF_MAX_LOADS]; /* ascending, not overlapping */
    size_t load_count;
    struct elf_tls tls;
    uint64_t rela;      /* vaddr of the relocation table */
    uint64_t rela_size; /* bytes, a multiple of 24 */
    uint64_t symtab;    /* vaddr of the dynamic symbol table, 0 if none */
    struct elf_version version;
    unsigned interface; /* 1 to 3 */
};

/* Read and check the headers. Returns 0 or -errno with *error filled (status 126). */
int elf_read(const struct image *image, struct elf *elf, struct uhyve_error *error);

/* True if the version is known and at least the given one. */
bool elf_version_at_least(const struct elf_version *version, uint32_t major, uint32_t minor,
                          uint32_t patch);

/*
 * Put the kernel into memory: `to` is where the host sees elf->size zeroed bytes that the guest
 * will see at `address`. Copies the segments and applies the relocations. Returns 0 or -errno with
 * *error filled (status 126).
 */
int elf_load(const struct elf *elf, const struct image *image, uint8_t *to, uint64_t address,
             struct uhyve_error *error);

#endif
