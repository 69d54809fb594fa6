/*
 * The packet layer of GDB's remote serial protocol (GDB manual, appendix E.1 "Overview"): frames,
 * checksums, escapes, and the interrupt byte between packets. Run-length encoding, which is the
 * sender's choice, is never used.
 *
 * Pure functions of bytes: the client is not trusted, and whatever it sends ends in one of the
 * events below. The owner of a parser is the owner of its session; one thread at a time.
 */
#ifndef DEBUG_GDB_PACKET_H
#define DEBUG_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

#define PACKET_MAX 0x4000 /* bytes of the longest packet we take, and of the longest we send */

enum packet_event {
    PACKET_NONE,      /* more bytes are needed */
    PACKET_COMPLETE,  /* data and size hold a packet */
    PACKET_BAD,       /* the same, but its checksum is wrong */
    PACKET_TOO_LONG,  /* a packet was dropped */
    PACKET_INTERRUPT, /* the byte 0x03 between packets */
    PACKET_ACK,
    PACKET_NACK,
};

enum packet_state {
    PACKET_BETWEEN,
    PACKET_PAYLOAD,
    PACKET_ESCAPED,
    PACKET_SUM_HIGH,
    PACKET_SUM_LOW,
};

/* Start from {0}. */
struct packet_parser {
    enum packet_state state;
    uint8_t sum;      /* of the payload as it came */
    uint8_t expected; /* the checksum that came */
    bool sum_valid;   /* it consists of hexadecimal digits */
    bool too_long;
    size_t size;
    char data[PACKET_MAX + 1]; /* without escapes; terminated, but may contain zeros */
};

/* The next byte from the client. After PACKET_COMPLETE and PACKET_BAD the data are valid until the
 * next call. */
enum packet_event packet_feed(struct packet_parser *parser, uint8_t byte);

/* Add the packet with this payload, framed and escaped, to `out`. */
void packet_add(struct text *out, const void *payload, size_t size);

/* Value of a hexadecimal digit, or -1. */
int hex_digit(char c);

/* Add `size` bytes as two digits each. */
void hex_add(struct text *text, const void *bytes, size_t size);

/* Read exactly 2 * size digits into `size` bytes; false if there are other characters. */
bool hex_read(const char *digits, void *bytes, size_t size);

/* A number of 1 to 16 digits at *at, which moves behind it. */
bool hex_number(const char **at, uint64_t *value);

#endif
