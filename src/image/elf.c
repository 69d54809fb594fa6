#include "image/elf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hermit/note.h"
#include "image/elf_note.h"
#include "util/checked.h"
#include "util/error.h"

#define ELF_OSABI_STANDALONE 255
#define DYNAMIC_MAX          (64 * 1024) /* bytes; real kernels have a few hundred */
#define NOTES_MAX            (64 * 1024) /* likewise */
#define PROGRAM_HEADERS_MAX  256         /* real kernels have about ten */

static int bad_image(const struct image *image, struct uhyve_error *error, const char *what,
                     const char *remedy)
{
    return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC, "image '%s' cannot be booted: %s (%s)",
                     image->path, what, remedy);
}

static int corrupt(const struct image *image, struct uhyve_error *error, const char *what)
{
    return bad_image(image, error, what, "the file is corrupt, build or copy it again");
}

static const char *machine_name(unsigned machine)
{
    switch (machine) {
    case EM_AARCH64:
        return "it is for aarch64, this machine is x86_64";
    case EM_RISCV:
        return "it is for RISC-V, this machine is x86_64";
    case EM_386:
        return "it is for 32-bit x86, Hermit needs x86_64";
    default:
        return "it is for another processor architecture, this machine is x86_64";
    }
}

static int check_header(const struct image *image, const Elf64_Ehdr *header,
                        struct uhyve_error *error)
{
    if (memcmp(header->e_ident, ELFMAG, SELFMAG) != 0)
        return bad_image(image, error, "it is neither an ELF file nor a Hermit image",
                         "give the program that cargo or the Hermit toolchain built");
    if (header->e_ident[EI_CLASS] != ELFCLASS64)
        return bad_image(image, error, "it is not a 64-bit ELF file", "build it for x86_64");
    if (header->e_ident[EI_DATA] != ELFDATA2LSB)
        return bad_image(image, error, "it is a big-endian ELF file", "build it for x86_64");
    if (header->e_machine != EM_X86_64)
        return bad_image(image, error, machine_name(header->e_machine), "build it for x86_64");
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return bad_image(image, error, "it is an object file or a core dump, not a program",
                         "link it first");
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0)
        return corrupt(image, error, "it has no usable program headers");
    if (header->e_phnum > PROGRAM_HEADERS_MAX)
        return corrupt(image, error, "it has more than 256 program headers");
    return 0;
}

static int add_load(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                    struct uhyve_error *error)
{
    uint64_t end;
    if (segment->p_memsz == 0)
        return 0;
    if (elf->load_count == ELF_MAX_LOADS)
        return corrupt(image, error, "it has more than 64 loadable segments");
    if (segment->p_filesz > segment->p_memsz)
        return corrupt(image, error, "a segment is larger in the file than in memory");
    if (!range_inside(segment->p_offset, segment->p_filesz, image->size))
        return corrupt(image, error, "a segment lies beyond the end of the file");
    if (checked_add(segment->p_vaddr, segment->p_memsz, &end))
        return corrupt(image, error, "a segment wraps around the address space");
    if (elf->load_count) {
        const struct elf_load *last = &elf->load[elf->load_count - 1];
        if (segment->p_vaddr < last->vaddr + last->memsz)
            return corrupt(image, error, "its segments overlap or are out of order");
    } else {
        elf->start = segment->p_vaddr;
    }
    elf->load[elf->load_count++] = (struct elf_load){
        .offset = segment->p_offset,
        .vaddr = segment->p_vaddr,
        .filesz = segment->p_filesz,
        .memsz = segment->p_memsz,
        .flags = segment->p_flags,
    };
    elf->size = end - elf->start;
    return 0;
}

static int read_dynamic(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                        struct uhyve_error *error)
{
    Elf64_Dyn entries[64];
    uint64_t entry_size = sizeof(Elf64_Rela);

    if (segment->p_filesz > DYNAMIC_MAX)
        return corrupt(image, error, "its dynamic section is oversized");
    uint64_t total = segment->p_filesz / sizeof *entries;
    for (uint64_t i = 0; i < total;) {
        uint64_t count = total - i < 64 ? total - i : 64;
        uint64_t offset;
        if (checked_add(segment->p_offset, i * sizeof *entries, &offset))
            return corrupt(image, error, "its dynamic section wraps around");
        int err = image_read(image, offset, entries, count * sizeof *entries, "dynamic section",
                             error);
        if (err)
            return err;
        for (uint64_t j = 0; j < count; j++) {
            uint64_t value = entries[j].d_un.d_val;
            switch (entries[j].d_tag) {
            case DT_NULL:
                i = total;
                j = count;
                break;
            case DT_NEEDED:
                return bad_image(image, error, "it needs shared libraries",
                                 "it is a program for another system, or link it statically");
            case DT_RELA:
                elf->rela = value;
                break;
            case DT_RELASZ:
                elf->rela_size = value;
                break;
            case DT_RELAENT:
                entry_size = value;
                break;
            case DT_SYMTAB:
                elf->symtab = value;
                break;
            case DT_RELSZ:
            case DT_RELCOUNT:
            case DT_RELRSZ:
            case DT_PLTRELSZ:
                if (value && elf->relocatable)
                    return bad_image(image, error,
                                     "it uses a kind of relocation table that "
                                     "Hermit kernels do not have",
                                     "link with RELA relocations and without a PLT");
                break;
            }
        }
        i += count;
    }
    if (entry_size != sizeof(Elf64_Rela) || elf->rela_size % sizeof(Elf64_Rela))
        return corrupt(image, error, "its relocation table has an unknown layout");
    if (elf->rela_size && !elf->rela)
        return corrupt(image, error, "its relocation table has no address");
    return 0;
}

static int read_notes(const struct image *image, struct elf_notes *notes, const Elf64_Phdr *segment,
                      struct uhyve_error *error)
{
    if (segment->p_filesz > NOTES_MAX)
        return corrupt(image, error, "its note segment is oversized");
    size_t size = (size_t)segment->p_filesz;
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    int err = image_read(image, segment->p_offset, data, size, "note segment", error);
    if (!err)
        elf_notes_scan(notes, data, size, segment->p_align);
    free(data);
    return err;
}

static int read_segments(const struct image *image, struct elf *elf, struct elf_notes *notes,
                         const Elf64_Ehdr *header, struct uhyve_error *error)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        uint64_t offset;
        if (checked_add(header->e_phoff, i * sizeof segment, &offset))
            return corrupt(image, error, "its program headers wrap around");
        int err = image_read(image, offset, &segment, sizeof segment, "program headers", error);
        if (err)
            return err;
        switch (segment.p_type) {
        case PT_LOAD:
            err = add_load(image, elf, &segment, error);
            break;
        case PT_DYNAMIC:
            err = read_dynamic(image, elf, &segment, error);
            break;
        case PT_NOTE:
            err = read_notes(image, notes, &segment, error);
            break;
        case PT_TLS:
            if (!elf->tls.memsz && !elf->tls.align)
                elf->tls = (struct elf_tls){segment.p_vaddr, segment.p_filesz, segment.p_memsz,
                                            segment.p_align};
            break;
        }
        if (err)
            return err;
    }
    return 0;
}

static int check_notes(const struct image *image, struct elf *elf, const struct elf_notes *notes,
                       struct uhyve_error *error)
{
    if (!notes->has_entry_version)
        return bad_image(image, error, "it is not a Hermit kernel: the HERMIT note is missing",
                         "build it for the target x86_64-unknown-hermit");
    if (notes->entry_version != HERMIT_ENTRY_VERSION)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                         "image '%s' cannot be booted: it uses version %u of the boot protocol, "
                         "uhyve speaks version %u (build it with a current Hermit)",
                         image->path, notes->entry_version, HERMIT_ENTRY_VERSION);
    elf->version = notes->version;
    elf->interface = notes->has_interface ? notes->interface : 1;
    if (elf->interface < HERMIT_INTERFACE_MIN || elf->interface > HERMIT_INTERFACE_MAX)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                         "image '%s' cannot be booted: it wants version %u of the hypercall "
                         "interface, this uhyve supports %u to %u (use a newer uhyve)",
                         image->path, elf->interface, HERMIT_INTERFACE_MIN, HERMIT_INTERFACE_MAX);
    return 0;
}

int elf_read(const struct image *image, struct elf *elf, struct uhyve_error *error)
{
    Elf64_Ehdr header = {0};
    struct elf_notes notes = {0};

    *elf = (struct elf){0};
    if (image->size < sizeof header) {
        /* Too short for a header: still tell a text file from a truncated kernel. */
        uint8_t magic[SELFMAG] = {0};
        if (image->size >= SELFMAG)
            image_read(image, 0, magic, sizeof magic, "header", NULL);
        if (memcmp(magic, ELFMAG, SELFMAG) != 0)
            return bad_image(image, error,
                             image->size ? "it is neither an ELF file nor a Hermit image"
                                         : "the file is empty",
                             "give the program that cargo or the Hermit toolchain built");
    }
    int err = image_read(image, 0, &header, sizeof header, "ELF header", error);
    if (err)
        return err;
    err = check_header(image, &header, error);
    if (err)
        return err;
    elf->relocatable = header.e_type == ET_DYN;
    elf->standalone_osabi = header.e_ident[EI_OSABI] == ELF_OSABI_STANDALONE;
    elf->entry = header.e_entry;
    err = read_segments(image, elf, &notes, &header, error);
    if (err)
        return err;
    err = check_notes(image, elf, &notes, error);
    if (err)
        return err;
    if (!elf->load_count)
        return corrupt(image, error, "it has nothing to load");
    if (elf->relocatable && elf->start != 0)
        return corrupt(image, error, "it is relocatable, but does not start at address 0");
    if (elf->entry < elf->start || elf->entry - elf->start >= elf->size)
        return corrupt(image, error, "its entry point is outside the kernel");
    return 0;
}

bool elf_version_at_least(const struct elf_version *version, uint32_t major, uint32_t minor,
                          uint32_t patch)
{
    if (!version->known)
        return false;
    if (version->major != major)
        return version->major > major;
    if (version->minor != minor)
        return version->minor > minor;
    return version->patch >= patch;
}
