#include "elf_builder.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "hermit/note.h"

Elf64_Ehdr *builder_header(struct elf_builder *builder)
{
    return (Elf64_Ehdr *)(void *)builder->file;
}

Elf64_Phdr *builder_segment(struct elf_builder *builder, unsigned index)
{
    assert(index < BUILDER_PHDR_MAX);
    return (Elf64_Phdr *)(void *)(builder->file + sizeof(Elf64_Ehdr)) + index;
}

Elf64_Phdr *builder_add(struct elf_builder *builder, const Elf64_Phdr *segment)
{
    Elf64_Phdr *added = builder_segment(builder, builder_header(builder)->e_phnum++);
    *added = *segment;
    return added;
}

uint8_t *builder_kernel(struct elf_builder *builder, uint64_t offset)
{
    return builder->file + BUILDER_KERNEL + offset;
}

void builder_clear_notes(struct elf_builder *builder)
{
    builder->notes_size = 0;
    builder_segment(builder, 0)->p_filesz = builder_segment(builder, 0)->p_memsz = 0;
}

void builder_note(struct elf_builder *builder, const char *name, uint32_t type, const void *desc,
                  uint32_t size)
{
    Elf64_Nhdr header = {(uint32_t)strlen(name) + 1, size, type};
    size_t name_room = (header.n_namesz + 3u) & ~3u, desc_room = (size + 3u) & ~3u;
    uint8_t *at = builder->file + BUILDER_NOTES + builder->notes_size;

    builder->notes_size += sizeof header + name_room + desc_room;
    assert(builder->notes_size <= BUILDER_NOTES_SIZE);
    memset(at, 0, sizeof header + name_room + desc_room);
    memcpy(at, &header, sizeof header);
    memcpy(at + sizeof header, name, header.n_namesz);
    memcpy(at + sizeof header + name_room, desc, size);
    builder_segment(builder, 0)->p_filesz = builder->notes_size;
    builder_segment(builder, 0)->p_memsz = builder->notes_size;
}

static void add_dynamic(struct elf_builder *builder)
{
    builder_add(builder, &(Elf64_Phdr){.p_type = PT_DYNAMIC,
                                       .p_offset = BUILDER_KERNEL + BUILDER_DYNAMIC,
                                       .p_vaddr = BUILDER_DYNAMIC,
                                       .p_filesz = BUILDER_KERNEL_SIZE - BUILDER_DYNAMIC,
                                       .p_memsz = BUILDER_KERNEL_SIZE - BUILDER_DYNAMIC,
                                       .p_align = 8});
    builder_dynamic(builder, DT_SYMTAB, BUILDER_SYMTAB);
    builder_dynamic(builder, DT_RELA, BUILDER_RELA);
    builder_dynamic(builder, DT_RELAENT, sizeof(Elf64_Rela));
    builder_dynamic(builder, DT_RELASZ, 0); /* kept up to date by builder_rela */
}

void builder_init(struct elf_builder *builder, unsigned type, uint32_t interface)
{
    uint64_t start = type == ET_DYN ? 0 : BUILDER_EXEC_START;
    uint8_t entry_version = HERMIT_ENTRY_VERSION;
    uint32_t interface_word = htobe32(interface);

    memset(builder, 0, sizeof *builder);
    builder->size = BUILDER_FILE_SIZE;
    const Elf64_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT, 255},
        .e_type = (uint16_t)type,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = start + BUILDER_ENTRY,
        .e_phoff = sizeof(Elf64_Ehdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
    };
    /* Not stored as a whole: a compiler that sees that takes the file for a header. */
    memcpy(builder->file, &header, sizeof header);
    builder_add(builder, &(Elf64_Phdr){.p_type = PT_NOTE, .p_offset = BUILDER_NOTES, .p_align = 4});
    builder_add(builder, &(Elf64_Phdr){.p_type = PT_LOAD,
                                       .p_flags = PF_R | PF_W | PF_X,
                                       .p_offset = BUILDER_KERNEL,
                                       .p_vaddr = start,
                                       .p_filesz = BUILDER_KERNEL_SIZE,
                                       .p_memsz = BUILDER_MEMORY_SIZE,
                                       .p_align = 0x1000});
    builder_note(builder, HERMIT_NOTE_ENTRY_NAME, HERMIT_NOTE_ENTRY_TYPE, &entry_version, 1);
    if (interface)
        builder_note(builder, HERMIT_NOTE_INTERFACE_NAME, HERMIT_NOTE_INTERFACE_TYPE,
                     &interface_word, sizeof interface_word);
    if (type == ET_DYN)
        add_dynamic(builder);
}

void builder_dynamic(struct elf_builder *builder, int64_t tag, uint64_t value)
{
    Elf64_Dyn entry = {.d_tag = tag, .d_un.d_val = value};
    size_t offset = BUILDER_DYNAMIC + builder->dynamic_count++ * sizeof entry;
    assert(offset + sizeof entry <= BUILDER_KERNEL_SIZE);
    memcpy(builder_kernel(builder, offset), &entry, sizeof entry);
}

void builder_rela(struct elf_builder *builder, uint64_t offset, uint32_t type, uint32_t symbol,
                  int64_t addend)
{
    Elf64_Rela rela = {offset, ELF64_R_INFO((uint64_t)symbol, type), addend};
    size_t at = BUILDER_RELA + builder->rela_count++ * sizeof rela;
    assert(at + sizeof rela <= BUILDER_SYMTAB);
    memcpy(builder_kernel(builder, at), &rela, sizeof rela);

    Elf64_Dyn size = {.d_tag = DT_RELASZ, .d_un.d_val = builder->rela_count * sizeof rela};
    memcpy(builder_kernel(builder, BUILDER_DYNAMIC + 3 * sizeof size), &size, sizeof size);
}

void builder_symbol(struct elf_builder *builder, unsigned index, unsigned binding, uint16_t section,
                    uint64_t value)
{
    Elf64_Sym symbol = {
        .st_info = ELF64_ST_INFO(binding, STT_NOTYPE), .st_shndx = section, .st_value = value};
    size_t at = BUILDER_SYMTAB + index * sizeof symbol;
    assert(at + sizeof symbol <= BUILDER_DYNAMIC);
    memcpy(builder_kernel(builder, at), &symbol, sizeof symbol);
}

struct image builder_image(const struct elf_builder *builder)
{
    struct image image;
    image_from_memory(&image, "built", builder->file, builder->size);
    return image;
}
