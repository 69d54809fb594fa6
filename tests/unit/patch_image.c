#include "unit.h"

#include "patch_image.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BASE UINT64_C(0x400000) /* of images that can be anywhere */

static void relocate(struct patch_image *image, const Elf64_Dyn *dynamic)
{
    uint64_t rela = 0, size = 0;
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_RELA)
            rela = dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_RELASZ)
            size = dynamic->d_un.d_val;
    }
    for (uint64_t at = rela; at + sizeof(Elf64_Rela) <= rela + size; at += sizeof(Elf64_Rela)) {
        Elf64_Rela entry;
        memcpy(&entry, image->bytes + at, sizeof entry);
        if (ELF64_R_TYPE(entry.r_info) != R_X86_64_RELATIVE)
            continue;
        uint64_t value = image->address + (uint64_t)entry.r_addend;
        memcpy(image->bytes + entry.r_offset, &value, sizeof value);
    }
}

static uint8_t *map_file(const char *path, size_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    uint8_t *file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    assert_true(file != MAP_FAILED);
    close(fd);
    *size = (size_t)status.st_size;
    return file;
}

static int read_file(const void *context, uint64_t offset, void *to, size_t size)
{
    memcpy(to, (const uint8_t *)context + offset, size);
    return 0;
}

void patch_image_load(struct patch_image *image, const char *path)
{
    size_t file_size;
    uint8_t *file = map_file(path, &file_size);
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)file;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(file + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    uint64_t start = UINT64_MAX, end = 0;
    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_DYNAMIC)
            dynamic = (const Elf64_Dyn *)(file + segments[i].p_offset);
        if (segments[i].p_type != PT_LOAD)
            continue;
        start = segments[i].p_vaddr < start ? segments[i].p_vaddr : start;
        if (segments[i].p_vaddr + segments[i].p_memsz > end)
            end = segments[i].p_vaddr + segments[i].p_memsz;
    }
    start = header->e_type == ET_DYN ? 0 : start;
    image->address = header->e_type == ET_DYN ? BASE : start;
    image->size = end - start;
    image->bytes = calloc(1, image->size);
    assert_non_null(image->bytes);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD)
            memcpy(image->bytes + (segments[i].p_vaddr - start), file + segments[i].p_offset,
                   segments[i].p_filesz);
    if (dynamic && header->e_type == ET_DYN)
        relocate(image, dynamic);
    const struct code_map_file source = {read_file, file, file_size};
    assert_int_equal(code_map_read(&image->map, &source, start, image->size, image->address), 0);
    munmap(file, file_size);
}

void patch_image_unload(struct patch_image *image)
{
    code_map_free(&image->map);
    free(image->bytes);
}

static bool is_image(const char *path)
{
    Elf64_Ehdr header;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool elf = fd >= 0 && read(fd, &header, sizeof header) == (ssize_t)sizeof header &&
               memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_machine == EM_X86_64 &&
               (header.e_type == ET_DYN || header.e_type == ET_EXEC);
    if (fd >= 0)
        close(fd);
    return elf;
}

void patch_image_each(void (*check)(const char *path))
{
    const char *directory = getenv("UHYVE_TEST_IMAGES");
    DIR *stream = directory ? opendir(directory) : NULL;
    struct dirent *entry;
    if (!stream) {
        print_message("# UHYVE_TEST_IMAGES names no directory: real images are left out\n");
        return;
    }
    while ((entry = readdir(stream)) != NULL) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (is_image(path))
            check(path);
    }
    closedir(stream);
}
