/*
 * ELF files in memory, made to measure: a good Hermit kernel to start from, and access to every
 * part of it, so that a test can spoil exactly one thing.
 *
 * The file is laid out as header, program headers, notes, kernel bytes; the last byte of the file
 * is the last byte of the only loadable segment. The kernel's bytes begin with room for code, a
 * relocation table, a symbol table and a dynamic section, in this order.
 */
#ifndef ELF_BUILDER_H
#define ELF_BUILDER_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "image/image.h"
#include "uhyve.h"

/* Offsets in the file. */
#define BUILDER_NOTES       0x240
#define BUILDER_NOTES_SIZE  0x100
#define BUILDER_KERNEL      0x340
#define BUILDER_KERNEL_SIZE 0x400
#define BUILDER_FILE_SIZE   (BUILDER_KERNEL + BUILDER_KERNEL_SIZE)
#define BUILDER_PHDR_MAX    9

/* Offsets in the kernel, which for a relocatable one are also its virtual addresses. */
#define BUILDER_ENTRY       0x10
#define BUILDER_DATA        0x40
#define BUILDER_RELA        0x100
#define BUILDER_SYMTAB      0x200
#define BUILDER_DYNAMIC     0x300
#define BUILDER_MEMORY_SIZE 0x1000 /* bytes in memory, larger than in the file */

#define BUILDER_EXEC_START 0x800000 /* where a kernel that is not relocatable is linked to */

struct elf_builder {
    uint8_t file[BUILDER_FILE_SIZE + 64]; /* room for bytes after the end */
    size_t size;
    size_t notes_size;
    size_t rela_count;
    size_t dynamic_count;
};

/* A kernel of this type (ET_EXEC or ET_DYN) and interface version, without an ABI tag. 0 leaves
 * the interface note out. */
void builder_init(struct elf_builder *builder, unsigned type, uint32_t interface);

Elf64_Ehdr *builder_header(struct elf_builder *builder);
/* Program headers: 0 is the notes', 1 the loadable segment's. builder_add returns a new one. */
Elf64_Phdr *builder_segment(struct elf_builder *builder, unsigned index);
Elf64_Phdr *builder_add(struct elf_builder *builder, const Elf64_Phdr *segment);

/* Append a note with 4-byte padding; namesz is strlen(name) + 1. */
void builder_note(struct elf_builder *builder, const char *name, uint32_t type, const void *desc,
                  uint32_t size);
void builder_clear_notes(struct elf_builder *builder);

/* The kernel's bytes. */
uint8_t *builder_kernel(struct elf_builder *builder, uint64_t offset);

/* Add an entry to the dynamic section, relocation table or symbol table. */
void builder_dynamic(struct elf_builder *builder, int64_t tag, uint64_t value);
void builder_rela(struct elf_builder *builder, uint64_t offset, uint32_t type, uint32_t symbol,
                  int64_t addend);
void builder_symbol(struct elf_builder *builder, unsigned index, unsigned binding, uint16_t section,
                    uint64_t value);

/* The file as an image; the builder must outlive it. */
struct image builder_image(const struct elf_builder *builder);

#endif
