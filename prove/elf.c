/*
 * Reading the headers of a kernel: the file's contents lead no access astray, and of what is
 * accepted the entry point is within the kernel.
 *
 * prove: bad_image corrupt unknown_relocations machine_name check_header check_load take_load
 *        add_load read_piece take_dynamic take_dynamics read_dynamic read_notes take_tls
 *        read_segment read_segments check_notes check_magic read_header check_kernel elf_read
 *        elf_version_at_least
 * follow: main
 * within: any file
 * assumed: image_read writes no more than it is asked for
 */
#include "image.h"

#include "image/elf.c"

/* These know how large things are; main() below is their proof. */
/*@ requires \valid_read(data + (16 * index .. 16 * index + 15));
    assigns \result \from data[16 * index .. 16 * index + 15]; */
static Elf64_Dyn dynamic_entry(const uint8_t *data, uint64_t index);

/*@ requires \valid_read(image) && \valid(segment);
    assigns *segment, \result \from *image, offset; */
static int copy_program_header(const struct image *image, uint64_t offset, Elf64_Phdr *segment,
                               struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(header);
    assigns *header, \result \from *image; */
static int copy_header(const struct image *image, Elf64_Ehdr *header, struct uhyve_error *error);

/*@ requires \valid(elf) && \valid_read(header) && \separated(elf, header);
    assigns *elf \from *header;
    ensures segments(elf); */
static void take_header(struct elf *elf, const Elf64_Ehdr *header);

//@ assigns \result \from \nothing; ensures \result != 0;
static int bad_image(const struct image *image, struct uhyve_error *error, const char *what,
                     const char *remedy);

//@ assigns \result \from \nothing; ensures \result != 0;
static int corrupt(const struct image *image, struct uhyve_error *error, const char *what);

//@ assigns \result \from \nothing; ensures \result != 0;
static int unknown_relocations(const struct image *image, struct uhyve_error *error);

//@ assigns \result \from machine;
static const char *machine_name(unsigned machine);

/*@ requires \valid_read(header);
    assigns \result \from *header; */
static int check_header(const struct image *image, const Elf64_Ehdr *header,
                        struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid_read(elf) && \valid_read(segment);
    requires segments(elf);
    assigns \result \from *image, *elf, *segment;
    ensures \result == 0 ==>
            elf->load_count < ELF_MAX_LOADS && segment->p_filesz <= segment->p_memsz &&
            segment->p_vaddr + segment->p_memsz <= 0xffffffffffffffff; */
static int check_load(const struct image *image, const struct elf *elf, const Elf64_Phdr *segment,
                      struct uhyve_error *error);

/*@ requires \valid(load) && \valid_read(segment) && \separated(load, segment);
    assigns *load \from *segment;
    ensures load->vaddr == segment->p_vaddr && load->filesz == segment->p_filesz &&
            load->memsz == segment->p_memsz; */
static void take_load(struct elf_load *load, const Elf64_Phdr *segment);

/*@ requires \valid_read(image) && \valid(elf) && \valid_read(segment);
    requires \separated(elf, segment, image);
    requires segments(elf);
    assigns elf->load[0 .. ELF_MAX_LOADS - 1], elf->load_count, elf->start, elf->size, \result
            \from *image, *elf, *segment;
    ensures segments(elf); */
static int add_load(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                    struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid_read(segment) && \valid(piece + (0 .. PIECE_MAX - 1));
    requires \separated(segment, image, piece + (0 .. PIECE_MAX - 1));
    assigns piece[0 .. PIECE_MAX - 1], \result \from *image, *segment;
    ensures \result == 0 ==> segment->p_filesz <= PIECE_MAX; */
static int read_piece(const struct image *image, const Elf64_Phdr *segment, const char *what,
                      uint8_t piece[PIECE_MAX], struct uhyve_error *error);

/*@ requires \valid(elf) && \valid_read(entry) && \separated(elf, entry);
    assigns elf->rela, elf->rela_size, elf->symtab, \result \from *elf, *entry; */
static int take_dynamic(const struct image *image, struct elf *elf, const Elf64_Dyn *entry,
                        struct uhyve_error *error);

/*@ requires \valid(elf) && size <= PIECE_MAX && \valid_read(data + (0 .. size - 1));
    requires \separated(elf, data + (0 .. size - 1));
    assigns elf->rela, elf->rela_size, elf->symtab, \result \from *elf, data[0 .. size - 1]; */
static int take_dynamics(const struct image *image, struct elf *elf, const uint8_t *data,
                         uint64_t size, struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(elf) && \valid_read(segment);
    requires \separated(elf, segment, image);
    assigns elf->rela, elf->rela_size, elf->symtab, \result
            \from *image, *elf, *segment; */
static int read_dynamic(const struct image *image, struct elf *elf, const Elf64_Phdr *segment,
                        struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(notes) && \valid_read(segment);
    requires \separated(notes, segment, image);
    assigns *notes, \result \from *image, *segment, *notes; */
static int read_notes(const struct image *image, struct elf_notes *notes, const Elf64_Phdr *segment,
                      struct uhyve_error *error);

/*@ requires \valid(elf) && \valid_read(segment) && \separated(elf, segment);
    assigns elf->tls \from *elf, *segment; */
static void take_tls(struct elf *elf, const Elf64_Phdr *segment);

/*@ requires \valid_read(image) && \valid(elf) && \valid(notes) && \valid_read(segment);
    requires \separated(elf, notes, segment, image);
    requires segments(elf);
    assigns *elf, *notes, \result \from *image, *elf, *notes, *segment;
    ensures segments(elf); */
static int read_segment(const struct image *image, struct elf *elf, struct elf_notes *notes,
                        const Elf64_Phdr *segment, struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(elf) && \valid(notes) && \valid_read(header);
    requires \separated(elf, notes, header, image);
    requires segments(elf);
    assigns *elf, *notes, \result \from *image, *elf, *notes, *header;
    ensures segments(elf); */
static int read_segments(const struct image *image, struct elf *elf, struct elf_notes *notes,
                         const Elf64_Ehdr *header, struct uhyve_error *error);

/*@ requires \valid(elf) && \valid_read(notes) && \separated(elf, notes);
    assigns elf->version, elf->interface, \result \from *notes; */
static int check_notes(const struct image *image, struct elf *elf, const struct elf_notes *notes,
                       struct uhyve_error *error);

/*@ requires \valid_read(image);
    assigns \result \from *image; */
static int check_magic(const struct image *image, struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(header);
    assigns *header, \result \from *image; */
static int read_header(const struct image *image, Elf64_Ehdr *header, struct uhyve_error *error);

/*@ predicate entry_inside(struct elf *elf) =
        elf->start <= elf->entry < elf->start + elf->size; */

/*@ requires \valid_read(elf);
    assigns \result \from *elf;
    ensures \result == 0 ==> entry_inside(elf); */
static int check_kernel(const struct image *image, const struct elf *elf,
                        struct uhyve_error *error);

/*@ requires \valid_read(image) && \valid(elf);
    requires \separated(elf, image);
    assigns *elf, \result \from *image;
    ensures \result == 0 ==> segments(elf) && entry_inside(elf); */
int elf_read(const struct image *image, struct elf *elf, struct uhyve_error *error);

/*@ requires \valid_read(version);
    assigns \result \from *version, major, minor, patch; */
bool elf_version_at_least(const struct elf_version *version, uint32_t major, uint32_t minor,
                          uint32_t patch);

int main(void)
{
    static uint8_t data[64];
    static const struct image image;
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    struct elf elf;
    uint64_t index = any_u64();

    if (index <= sizeof data / 16 - 1)
        dynamic_entry(data, index);
    copy_header(&image, &header, NULL);
    copy_program_header(&image, any_u64(), &segment, NULL);
    any_bytes(&header, sizeof header);
    take_header(&elf, &header);
    check(elf.load_count == 0 && elf.start == 0 && elf.size == 0);
    return 0;
}
