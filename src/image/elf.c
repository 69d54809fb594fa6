#include "image/elf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "hermit/note.h"
#include "image/elf_note.h"
#include "util/checked.h"
#include "util/error.h"

#define ELF_OSABI_STANDALONE 255
#define PIECE_MAX            (16 * 1024) /* bytes; real dynamic sections and notes have a few hundred */
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

static int unknown_relocations(const struct image *image, struct uhyve_error *error)
{
    return corrupt(image, error, "its relocation table has an unknown layout");
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

static int check_load(const struct image *image, const struct elf *elf, const Elf64_Phdr *segment,
                      struct uhyve_error *error)
{
    uint64_t end;

    if (elf->load_count == ELF_MAX_LOADS)
        return corrupt(image, error, "it has more than 64 loadable segments");
    if (segment->p_filesz > segment->p_memsz)
        return corrupt(image, error, "a segment is larger in the file than in memory");
    if (!range_inside(segment->p_offset, segment->p_filesz, image->size))
        return corrupt(image, error, "a segment lies beyond the end of the file");
    if (checked_add(segment->p_vaddr, segment->p_memsz, &end))
        return corrupt(image, error, "a segment wraps around the address space");
    if (elf->load_count && segment->p_vaddr < elf->start + elf->size)
        return corrupt(image, error, "its segments overlap or are out of order");
    return 0;
}

static void take_load(struct elf_load *load, const Elf64_Phdr *segment)
{
    load->offset = segment->p_offset;
    load->vaddr = segment->p_vaddr;
    load->filesz = segment->p_filesz;
    load->memsz = segment->p_memsz;
    load->flags = segment->p_flags;
}

static int add_load(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                    struct uhyve_error *error)
{
    if (segment->p_memsz == 0)
        return 0;
    int err = check_load(image, elf, segment, error);
    if (err)
        return err;
    if (elf->load_count == 0)
        elf->start = segment->p_vaddr;
    elf->size = segment->p_vaddr + segment->p_memsz - elf->start;
    take_load(&elf->load[elf->load_count], segment);
    elf->load_count++;
    return 0;
}

/* What a segment has in the file. */
static int read_piece(const struct image *image, const Elf64_Phdr *segment, const char *what,
                      uint8_t piece[PIECE_MAX], struct uhyve_error *error)
{
    if (segment->p_filesz > PIECE_MAX)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                         "image '%s' cannot be booted: its %s is oversized (the file is corrupt, "
                         "build or copy it again)",
                         image->path, what);
    return image_read(image, segment->p_offset, piece, segment->p_filesz, what, error);
}

static Elf64_Dyn dynamic_entry(const uint8_t *data, uint64_t index)
{
    Elf64_Dyn entry;

    memcpy(&entry, data + index * sizeof entry, sizeof entry);
    return entry;
}

static int take_dynamic(const struct image *image, struct elf *elf, const Elf64_Dyn *entry,
                        struct uhyve_error *error)
{
    uint64_t value = entry->d_un.d_val;

    switch (entry->d_tag) {
    case DT_NEEDED:
        return bad_image(image, error, "it needs shared libraries",
                         "it is a program for another system, or link it statically");
    case DT_RELA:
        elf->rela = value;
        return 0;
    case DT_RELASZ:
        elf->rela_size = value;
        return 0;
    case DT_RELAENT:
        return value == sizeof(Elf64_Rela) ? 0 : unknown_relocations(image, error);
    case DT_SYMTAB:
        elf->symtab = value;
        return 0;
    case DT_RELSZ:
    case DT_RELCOUNT:
    case DT_RELRSZ:
    case DT_PLTRELSZ:
        if (value && elf->relocatable)
            return bad_image(image, error,
                             "it uses a kind of relocation table that Hermit kernels do not have",
                             "link with RELA relocations and without a PLT");
        return 0;
    default:
        return 0;
    }
}

static int take_dynamics(const struct image *image, struct elf *elf, const uint8_t *data,
                         uint64_t size, struct uhyve_error *error)
{
    /*@ loop assigns i, elf->rela, elf->rela_size, elf->symtab;
        loop variant size / 16 - i; */
    for (uint64_t i = 0; i < size / sizeof(Elf64_Dyn); i++) {
        Elf64_Dyn entry = dynamic_entry(data, i);
        if (entry.d_tag == DT_NULL)
            return 0;
        int err = take_dynamic(image, elf, &entry, error);
        if (err)
            return err;
    }
    return 0;
}

static int read_dynamic(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                        struct uhyve_error *error)
{
    uint8_t data[PIECE_MAX];

    int err = read_piece(image, segment, "dynamic section", data, error);
    if (!err)
        err = take_dynamics(image, elf, data, segment->p_filesz, error);
    if (err)
        return err;
    if (elf->rela_size % sizeof(Elf64_Rela))
        return unknown_relocations(image, error);
    if (elf->rela_size && !elf->rela)
        return corrupt(image, error, "its relocation table has no address");
    return 0;
}

static int read_notes(const struct image *image, struct elf_notes *notes, const Elf64_Phdr *segment,
                      struct uhyve_error *error)
{
    uint8_t data[PIECE_MAX];

    int err = read_piece(image, segment, "note segment", data, error);
    if (!err)
        elf_notes_scan(notes, data, segment->p_filesz, segment->p_align);
    return err;
}

static void take_tls(struct elf *elf, const Elf64_Phdr *segment)
{
    if (!elf->tls.memsz && !elf->tls.align)
        elf->tls = (struct elf_tls){segment->p_vaddr, segment->p_filesz, segment->p_memsz,
                                    segment->p_align};
}

static int read_segment(const struct image *image, struct elf *elf, struct elf_notes *notes,
                        const Elf64_Phdr *segment, struct uhyve_error *error)
{
    switch (segment->p_type) {
    case PT_LOAD:
        return add_load(image, elf, segment, error);
    case PT_DYNAMIC:
        return read_dynamic(image, elf, segment, error);
    case PT_NOTE:
        return read_notes(image, notes, segment, error);
    case PT_TLS:
        take_tls(elf, segment);
        return 0;
    default:
        return 0;
    }
}

static int copy_program_header(const struct image *image, uint64_t offset, Elf64_Phdr *segment,
                               struct uhyve_error *error)
{
    return image_read(image, offset, segment, sizeof *segment, "program headers", error);
}

static int read_segments(const struct image *image, struct elf *elf, struct elf_notes *notes,
                         const Elf64_Ehdr *header, struct uhyve_error *error)
{
    Elf64_Phdr segment;
    uint64_t offset;

    /*@ loop invariant elf->load_count <= ELF_MAX_LOADS;
        loop assigns i, segment, offset, *elf, *notes;
        loop variant header->e_phnum - i; */
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (checked_add(header->e_phoff, i * sizeof segment, &offset))
            return corrupt(image, error, "its program headers wrap around");
        int err = copy_program_header(image, offset, &segment, error);
        if (!err)
            err = read_segment(image, elf, notes, &segment, error);
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

/* Too short for a header: still tell a text file from a truncated kernel. */
static int check_magic(const struct image *image, struct uhyve_error *error)
{
    uint8_t magic[SELFMAG] = {0};

    if (image->size >= SELFMAG)
        image_read(image, 0, magic, sizeof magic, "header", NULL);
    if (memcmp(magic, ELFMAG, SELFMAG) == 0)
        return 0;
    return bad_image(image, error,
                     image->size ? "it is neither an ELF file nor a Hermit image"
                                 : "the file is empty",
                     "give the program that cargo or the Hermit toolchain built");
}

static int copy_header(const struct image *image, Elf64_Ehdr *header, struct uhyve_error *error)
{
    return image_read(image, 0, header, sizeof *header, "ELF header", error);
}

static int read_header(const struct image *image, Elf64_Ehdr *header, struct uhyve_error *error)
{
    if (image->size < sizeof *header) {
        int err = check_magic(image, error);
        if (err)
            return err;
    }
    int err = copy_header(image, header, error);
    return err ? err : check_header(image, header, error);
}

static int check_kernel(const struct image *image, const struct elf *elf, struct uhyve_error *error)
{
    if (!elf->load_count)
        return corrupt(image, error, "it has nothing to load");
    if (elf->relocatable && elf->start != 0)
        return corrupt(image, error, "it is relocatable, but does not start at address 0");
    if (elf->entry < elf->start || elf->entry - elf->start >= elf->size)
        return corrupt(image, error, "its entry point is outside the kernel");
    return 0;
}

static void take_header(struct elf *elf, const Elf64_Ehdr *header)
{
    *elf = (struct elf){
        .relocatable = header->e_type == ET_DYN,
        .standalone_osabi = header->e_ident[EI_OSABI] == ELF_OSABI_STANDALONE,
        .entry = header->e_entry,
    };
}

int elf_read(const struct image *image, struct elf *elf, struct uhyve_error *error)
{
    Elf64_Ehdr header;
    struct elf_notes notes = {0};

    int err = read_header(image, &header, error);
    if (err)
        return err;
    take_header(elf, &header);
    err = read_segments(image, elf, &notes, &header, error);
    if (err)
        return err;
    err = check_notes(image, elf, &notes, error);
    return err ? err : check_kernel(image, elf, error);
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
