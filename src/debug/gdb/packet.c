#include "debug/gdb/packet.h"

#define ESCAPE      '}'
#define ESCAPE_FLIP 0x20
#define INTERRUPT   0x03

static const char digits[] = "0123456789abcdef";

static void packet_begin(struct packet_parser *parser)
{
    parser->state = PACKET_PAYLOAD;
    parser->sum = 0;
    parser->size = 0;
    parser->too_long = false;
}

static void packet_store(struct packet_parser *parser, uint8_t byte)
{
    if (parser->size < PACKET_MAX)
        parser->data[parser->size++] = (char)byte;
    else
        parser->too_long = true;
}

static enum packet_event packet_between(struct packet_parser *parser, uint8_t byte)
{
    switch (byte) {
    case '$':
        packet_begin(parser);
        return PACKET_NONE;
    case '+':
        return PACKET_ACK;
    case '-':
        return PACKET_NACK;
    case INTERRUPT:
        return PACKET_INTERRUPT;
    default: /* noise */
        return PACKET_NONE;
    }
}

static enum packet_event packet_payload(struct packet_parser *parser, uint8_t byte)
{
    switch (byte) {
    case '$': /* never part of a payload: the end of the packet before was lost */
        packet_begin(parser);
        break;
    case '#':
        parser->state = PACKET_SUM_HIGH;
        break;
    case ESCAPE:
        parser->sum = (uint8_t)(parser->sum + byte);
        parser->state = PACKET_ESCAPED;
        break;
    default:
        parser->sum = (uint8_t)(parser->sum + byte);
        packet_store(parser, byte);
    }
    return PACKET_NONE;
}

static enum packet_event packet_end(struct packet_parser *parser)
{
    parser->state = PACKET_BETWEEN;
    parser->data[parser->size] = '\0';
    if (parser->too_long)
        return PACKET_TOO_LONG;
    return parser->sum_valid && parser->expected == parser->sum ? PACKET_COMPLETE : PACKET_BAD;
}

enum packet_event packet_feed(struct packet_parser *parser, uint8_t byte)
{
    int digit = hex_digit((char)byte);

    switch (parser->state) {
    case PACKET_BETWEEN:
        return packet_between(parser, byte);
    case PACKET_PAYLOAD:
        return packet_payload(parser, byte);
    case PACKET_ESCAPED:
        parser->sum = (uint8_t)(parser->sum + byte);
        packet_store(parser, byte ^ ESCAPE_FLIP);
        parser->state = PACKET_PAYLOAD;
        return PACKET_NONE;
    case PACKET_SUM_HIGH:
        parser->sum_valid = digit >= 0;
        parser->expected = (uint8_t)((unsigned)digit << 4);
        parser->state = PACKET_SUM_LOW;
        return PACKET_NONE;
    case PACKET_SUM_LOW:
        parser->sum_valid = parser->sum_valid && digit >= 0;
        parser->expected = (uint8_t)(parser->expected | (unsigned)digit);
        return packet_end(parser);
    }
    return PACKET_NONE;
}

void packet_add(struct text *out, const void *payload, size_t size)
{
    const uint8_t *bytes = payload;
    uint8_t sum = 0;

    text_add(out, "$");
    for (size_t i = 0; i < size; i++) {
        uint8_t byte[] = {bytes[i], 0};
        size_t count = 1;
        if (*byte == '$' || *byte == '#' || *byte == '*' || *byte == ESCAPE) {
            byte[1] = *byte ^ ESCAPE_FLIP;
            byte[0] = ESCAPE;
            count = 2;
        }
        sum = (uint8_t)(sum + byte[0] + byte[1]);
        text_add_bytes(out, byte, count);
    }
    text_printf(out, "#%02x", sum);
}

int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

void hex_add(struct text *text, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;

    for (size_t i = 0; i < size; i++) {
        const char pair[] = {digits[from[i] >> 4], digits[from[i] & 15]};
        text_add_bytes(text, pair, sizeof pair);
    }
}

bool hex_read(const char *from, void *bytes, size_t size)
{
    uint8_t *to = bytes;

    //@ loop invariant i <= size; loop assigns i, to[0 .. size - 1]; loop variant size - i;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(from[2 * i]);
        int low = high < 0 ? -1 : hex_digit(from[2 * i + 1]);
        if (low < 0)
            return false;
        to[i] = (uint8_t)(16 * high + low);
    }
    return true;
}

bool hex_number(const char **at, uint64_t *value)
{
    unsigned count = 0;

    *value = 0;
    /*@ loop invariant count <= 17 && terminated(*at);
        loop assigns count, *at, *value;
        loop variant 17 - count; */
    for (; count < 17 && hex_digit(**at) >= 0; count++, (*at)++)
        *value = *value << 4 | (uint64_t)hex_digit(**at);
    return count >= 1 && count <= 16;
}
