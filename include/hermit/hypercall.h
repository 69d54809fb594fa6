/*
 * Hypercalls between a Hermit guest and uhyve: numbers and parameter blocks of both generations
 * (spec/hypercalls.md sections 1, 3 and 4). Shared by the VMM, the in-tree guests and the tests.
 *
 * Generation 1 ("v1", interface version 1): `out dx, eax`, DX = port, EAX = guest-physical address
 * of the block, or the character for HERMIT_V1_UART. Generation 2 ("v2", interface versions 2 and
 * 3): `out dx, eax`, DX = low 16 bits of the address, RDI = guest-physical address of the block, or
 * an immediate value for Exit and SerialWriteByte.
 *
 * A result is >= 0 for success and a negative Linux error number for failure; the tagged results of
 * interface 3 carry a positive error number.
 */
#ifndef HERMIT_HYPERCALL_H
#define HERMIT_HYPERCALL_H

#include <stddef.h>
#include <stdint.h>

enum hermit_v1_port {
    HERMIT_V1_FILE_WRITE = 0x400,
    HERMIT_V1_FILE_OPEN = 0x440,
    HERMIT_V1_FILE_CLOSE = 0x480,
    HERMIT_V1_FILE_READ = 0x500,
    HERMIT_V1_EXIT = 0x540,
    HERMIT_V1_FILE_LSEEK = 0x580,
    HERMIT_V1_CMDSIZE = 0x740,
    HERMIT_V1_CMDVAL = 0x780,
    HERMIT_V1_UART = 0x800,
    HERMIT_V1_FILE_UNLINK = 0x840,
    HERMIT_V1_SERIAL_WRITE_BUFFER = 0x880,
};

enum hermit_v2_address {
    HERMIT_V2_EXIT = 0x1010,
    HERMIT_V2_SERIAL_WRITE_BYTE = 0x1020,
    HERMIT_V2_SERIAL_WRITE_BUFFER = 0x1030,
    HERMIT_V2_SERIAL_READ_BYTE = 0x1040,
    HERMIT_V2_SERIAL_READ_BUFFER = 0x1050,
    HERMIT_V2_FILE_WRITE = 0x1100,
    HERMIT_V2_FILE_OPEN = 0x1110,
    HERMIT_V2_FILE_CLOSE = 0x1120,
    HERMIT_V2_FILE_READ = 0x1130,
    HERMIT_V2_FILE_LSEEK = 0x1140,
    HERMIT_V2_FILE_UNLINK = 0x1150,
    HERMIT_V2_GETDENTS = 0x1160,
    HERMIT_V2_FILE_STAT = 0x1170,
    HERMIT_V2_FILE_FSTAT = 0x1180,
    HERMIT_V2_MKDIR = 0x1190,
};

/* FileOpen flags: Linux/x86_64 values. Bits outside the mask are cleared by the VMM. */
#define HERMIT_O_RDONLY    0
#define HERMIT_O_WRONLY    01
#define HERMIT_O_RDWR      02
#define HERMIT_O_ACCMODE   03
#define HERMIT_O_CREAT     0100
#define HERMIT_O_EXCL      0200
#define HERMIT_O_TRUNC     01000
#define HERMIT_O_APPEND    02000
#define HERMIT_O_DIRECTORY 0200000
#define HERMIT_O_MASK      0203303

#define HERMIT_PATH_MAX 4096 /* longest path the VMM reads, terminator included */

/* Generation 1 (packed). Data buffers are guest-virtual, everything else guest-physical. */

struct hermit_v1_write {
    int32_t fd;
    uint64_t buf; /* GVA */
    uint64_t len;
} __attribute__((packed));

struct hermit_v1_read {
    int32_t fd;
    uint64_t buf; /* GVA */
    uint64_t len;
    int64_t ret; /* out */
} __attribute__((packed));

struct hermit_v1_lseek {
    int32_t fd;
    int64_t offset; /* in and out */
    int32_t whence;
} __attribute__((packed));

struct hermit_v1_exit {
    int32_t code;
} __attribute__((packed));

#define HERMIT_V1_MAX_STRINGS 128

struct hermit_v1_cmdsize {
    int32_t argc;
    int32_t argsz[HERMIT_V1_MAX_STRINGS]; /* bytes, terminator included */
    int32_t envc;
    int32_t envsz[HERMIT_V1_MAX_STRINGS];
} __attribute__((packed));

struct hermit_v1_cmdval {
    uint64_t argv; /* GPA of argc GPAs, one destination per string */
    uint64_t envp;
} __attribute__((packed));

struct hermit_v1_serial_write {
    uint64_t buf; /* GPA */
    uint64_t len;
} __attribute__((packed));

/* Shared by both generations (packed). */

struct hermit_open {
    uint64_t path; /* GPA of a terminated string */
    int32_t flags;
    int32_t mode;
    int32_t ret; /* out */
} __attribute__((packed));

struct hermit_close {
    int32_t fd;
    int32_t ret; /* out */
} __attribute__((packed));

struct hermit_unlink {
    uint64_t path; /* GPA of a terminated string */
    int32_t ret;   /* out */
} __attribute__((packed));

/* Generation 2 (naturally aligned). All addresses are guest-physical. */

struct hermit_v2_write {
    uint64_t len;
    int64_t ret; /* out */
    uint64_t buf;
    int32_t fd;
    uint32_t padding;
};

struct hermit_v2_read {
    uint64_t len;
    int64_t ret; /* out */
    uint64_t buf;
    int32_t fd;
    uint32_t padding;
};

struct hermit_v2_lseek {
    int64_t offset; /* in and out */
    uint32_t whence;
    int32_t fd;
};

struct hermit_v2_serial_write {
    uint64_t len;
    uint64_t buf;
};

struct hermit_v2_serial_read {
    uint64_t maxlen;
    uint64_t len; /* out */
    uint64_t buf;
};

/* Interface version 3. */

enum hermit_result_tag {
    HERMIT_RESULT_NONE = 0,
    HERMIT_RESULT_OK = 1,
    HERMIT_RESULT_ERROR = 2,
};

enum hermit_getdents_tag {
    HERMIT_GETDENTS_NONE = 0,
    HERMIT_GETDENTS_OK = 1,
    HERMIT_GETDENTS_END = 2,
    HERMIT_GETDENTS_ERROR = 3,
};

struct hermit_getdents {
    int32_t fd;
    uint32_t padding0;
    uint64_t buf;
    uint64_t len;
    uint32_t tag; /* out: enum hermit_getdents_tag */
    uint32_t padding1;
    union {
        uint64_t written; /* bytes */
        int32_t error;    /* positive */
    } result;             /* out */
};

#define HERMIT_STAT_FOLLOW    0
#define HERMIT_STAT_NO_FOLLOW 1

struct hermit_attr {
    uint64_t dev;
    uint64_t ino;
    uint64_t nlink;
    uint32_t mode;
    uint32_t uid;
    uint32_t gid;
    uint32_t padding0;
    uint64_t rdev;
    int64_t size;
    int64_t blksize;
    int64_t blocks; /* of 512 bytes */
    int64_t atime;
    int32_t atime_ns;
    uint32_t padding1;
    int64_t mtime;
    int32_t mtime_ns;
    uint32_t padding2;
    int64_t ctime;
    int32_t ctime_ns;
    uint32_t padding3;
};

struct hermit_stat {
    uint64_t path; /* GPA of a terminated string */
    uint32_t kind; /* HERMIT_STAT_FOLLOW or HERMIT_STAT_NO_FOLLOW */
    uint32_t padding;
    uint64_t attr; /* GPA of a struct hermit_attr */
    uint32_t tag;  /* out: enum hermit_result_tag */
    int32_t error; /* out: positive */
};

struct hermit_fstat {
    int32_t fd;
    uint32_t padding;
    uint64_t attr;
    uint32_t tag;
    int32_t error;
};

struct hermit_mkdir {
    uint64_t path; /* GPA of a terminated string */
    uint64_t len;  /* ignored */
    uint32_t tag;
    int32_t error;
};

_Static_assert(sizeof(struct hermit_v1_write) == 20, "v1 FileWrite");
_Static_assert(sizeof(struct hermit_v1_read) == 28, "v1 FileRead");
_Static_assert(sizeof(struct hermit_v1_lseek) == 16, "v1 FileLseek");
_Static_assert(sizeof(struct hermit_v1_cmdsize) == 1032, "v1 Cmdsize");
_Static_assert(sizeof(struct hermit_open) == 20, "FileOpen");
_Static_assert(sizeof(struct hermit_close) == 8, "FileClose");
_Static_assert(sizeof(struct hermit_unlink) == 12, "FileUnlink");
_Static_assert(sizeof(struct hermit_v2_write) == 32, "v2 FileWrite");
_Static_assert(sizeof(struct hermit_v2_lseek) == 16, "v2 FileLseek");
_Static_assert(sizeof(struct hermit_getdents) == 40, "Getdents");
_Static_assert(offsetof(struct hermit_getdents, tag) == 24, "Getdents tag");
_Static_assert(sizeof(struct hermit_attr) == 120, "attr");
_Static_assert(offsetof(struct hermit_attr, ctime_ns) == 112, "attr ctime");
_Static_assert(sizeof(struct hermit_stat) == 32, "FileStat");
_Static_assert(sizeof(struct hermit_fstat) == 24, "FileFstat");
_Static_assert(sizeof(struct hermit_mkdir) == 24, "Mkdir");

#endif
