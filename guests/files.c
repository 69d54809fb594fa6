/*
 * File calls as told: each application argument is one call, and its result is one line of output,
 * "ARGUMENT = RESULT". Words are separated by single blanks; FD may be "last" for the descriptor of
 * the last open. Calls that fail show the negative error number; exit code 0 in any case.
 *
 *   open PATH FLAGS [MODE]    letters: r w + (both) c(reate) x(clusive) t(runcate) a(ppend)
 *                             d(irectory); MODE is octal
 *   close FD    read FD SIZE    write FD TEXT    fill FD SIZE    check FD SIZE
 *   seek FD OFFSET WHENCE    list FD SIZE    stat PATH    lstat PATH    fstat FD
 *   mkdir PATH    unlink PATH    again COUNT: the following call that often, last result shown
 *
 * `fill` writes SIZE bytes of a pattern in pieces of up to 1 MiB, `check` reads them back and says
 * how many were as written. `list` shows each name with its type; the mode of a file is
 * hexadecimal.
 */
#include "lib/args.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

#define WORDS_MAX 4
#define PIECE     (1 << 20)
#define SHOWN_MAX 200 /* bytes that a read shows */

static uint64_t words_of_buffer[PIECE / 8] __attribute__((aligned(4096))); /* for direct I/O */
static char *const buffer = (char *)words_of_buffer;
static int last_fd = -1;

struct words {
    char text[2 * HERMIT_PATH_MAX];
    const char *item[WORDS_MAX];
};

/* Missing words are empty. */
static void split(struct words *words, const char *line)
{
    size_t size = text_length(line);
    char *at = words->text;

    size = size < sizeof(words->text) ? size : sizeof(words->text) - 1;
    memcpy(words->text, line, size);
    words->text[size] = '\0';
    for (unsigned i = 0; i < WORDS_MAX; i++) {
        words->item[i] = at;
        while (*at != '\0' && (i + 1 < WORDS_MAX && *at != ' '))
            at++;
        if (i + 1 < WORDS_MAX && *at == ' ')
            *at++ = '\0';
    }
}

static int64_t number(const char *word)
{
    int64_t value = 0;
    if (text_equal(word, "last"))
        return last_fd;
    text_to_number(word, &value);
    return value;
}

static int octal(const char *word)
{
    int value = 0;
    for (; *word >= '0' && *word <= '7'; word++)
        value = value * 8 + (*word - '0');
    return value;
}

static int open_flags(const char *letters)
{
    static const struct {
        char letter;
        int flag;
    } flags[] = {
        {'w', HERMIT_O_WRONLY},    {'+', HERMIT_O_RDWR},  {'c', HERMIT_O_CREAT},
        {'x', HERMIT_O_EXCL},      {'t', HERMIT_O_TRUNC}, {'a', HERMIT_O_APPEND},
        {'d', HERMIT_O_DIRECTORY},
    };
    int result = 0;
    for (; *letters != '\0'; letters++)
        for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
            if (flags[i].letter == *letters)
                result |= flags[i].flag;
    return result;
}

/* What `fill` writes: every eight bytes count up, so that no piece looks like another. `offset` is
 * a multiple of eight. */
static void make_pattern(int64_t offset)
{
    for (size_t i = 0; i < PIECE / 8; i++)
        words_of_buffer[i] = (uint64_t)offset / 8 + i;
}

static char pattern_byte(int64_t offset)
{
    return (char)((uint64_t)offset / 8 >> (offset % 8 * 8));
}

static int64_t fill(int fd, int64_t size)
{
    int64_t done = 0;
    while (done < size) {
        int64_t part = size - done < PIECE ? size - done : PIECE;
        make_pattern(done);
        int64_t count = file_write(fd, buffer, (size_t)part);
        if (count < 0)
            return done != 0 ? done : count;
        done += count;
        if (count < part)
            break;
    }
    return done;
}

/* How many of the first `size` bytes of the buffer are the pattern from `offset` on. */
static int64_t compare(int64_t offset, int64_t size)
{
    int64_t same = 0;
    if (offset % 8 == 0)
        while (same + 8 <= size && words_of_buffer[same / 8] == (uint64_t)(offset + same) / 8)
            same += 8;
    while (same < size && buffer[same] == pattern_byte(offset + same))
        same++;
    return same;
}

static int64_t check(int fd, int64_t size)
{
    int64_t done = 0;
    while (done < size) {
        int64_t part = size - done < PIECE ? size - done : PIECE;
        int64_t count = file_read(fd, buffer, (size_t)part);
        if (count <= 0)
            return done != 0 ? done : count;
        int64_t same = compare(done, count);
        done += same;
        if (same < count)
            break;
    }
    return done;
}

static void show_entries(const char *entries, int64_t size)
{
    for (int64_t at = 0; at < size;) {
        uint16_t length;
        memcpy(&length, entries + at + 16, sizeof(length));
        print(" %s:%d", entries + at + 19, entries[at + 18]);
        at += length;
    }
}

static void show_attr(int result, const struct hermit_attr *attr)
{
    if (result < 0)
        print("%d\n", result);
    else
        print("mode=%x size=%ld nlink=%lu blocks=%ld\n", attr->mode, attr->size, attr->nlink,
              attr->blocks);
}

static void run(const char *line, int64_t times)
{
    struct words words;
    split(&words, line);
    const char *call = words.item[0], *path = words.item[1];
    int fd = (int)number(words.item[1]);
    int64_t size = number(words.item[2]), result = -GUEST_ENOSYS;
    const char *text = line + (words.item[2] - words.text); /* with its blanks */
    struct hermit_attr attr;

    for (; times > 0; times--) {
        if (text_equal(call, "open")) {
            result = file_open(path, open_flags(words.item[2]), octal(words.item[3]));
            last_fd = result >= 0 ? (int)result : last_fd;
        } else if (text_equal(call, "close")) {
            result = file_close(fd);
        } else if (text_equal(call, "read")) {
            result = file_read(fd, buffer, size < PIECE ? (size_t)size : PIECE);
        } else if (text_equal(call, "write")) {
            result = file_write(fd, text, text_length(text));
        } else if (text_equal(call, "fill")) {
            result = fill(fd, size);
        } else if (text_equal(call, "check")) {
            result = check(fd, size);
        } else if (text_equal(call, "seek")) {
            result = file_seek(fd, size, (int)number(words.item[3]));
        } else if (text_equal(call, "list")) {
            result = file_list(fd, buffer, (size_t)size);
        } else if (text_equal(call, "mkdir")) {
            result = file_make_directory(path);
        } else if (text_equal(call, "unlink")) {
            result = file_unlink(path);
        } else if (text_equal(call, "stat")) {
            result = file_stat(path, HERMIT_STAT_FOLLOW, &attr);
        } else if (text_equal(call, "lstat")) {
            result = file_stat(path, HERMIT_STAT_NO_FOLLOW, &attr);
        } else if (text_equal(call, "fstat")) {
            result = file_stat_fd(fd, &attr);
        }
    }
    print("%s = ", line);
    if (text_equal(call, "stat") || text_equal(call, "lstat") || text_equal(call, "fstat")) {
        show_attr((int)result, &attr);
        return;
    }
    print("%ld", result);
    if (text_equal(call, "read") && result > 0) {
        buffer[result < SHOWN_MAX ? result : SHOWN_MAX] = '\0';
        print(" %s", buffer);
    }
    if (text_equal(call, "list"))
        show_entries(buffer, result);
    print("\n");
}

int main(void)
{
    int64_t times = 1;

    args_load();
    for (size_t i = 0; i < args.app.count; i++) {
        const char *line = args.app.item[i];
        if (text_starts_with(line, "again ")) {
            times = number(line + 6);
            continue;
        }
        run(line, times);
        times = 1;
    }
    return 0;
}
