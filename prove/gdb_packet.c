/*
 * Whatever bytes a debugger sends, in whatever pieces: frames stay within the parser's buffer, and
 * numbers within the packet, which is terminated.
 *
 * prove: packet_begin packet_store packet_between packet_payload packet_end packet_feed hex_digit
 *        hex_read hex_number
 * within: any sequence of bytes; numbers of any length
 * assumed: hex_read is asked for no more digits than there are
 */
#include "prove.h"

#include "util/text.h"

/* What builds replies is not proved. */
//@ assigns *text;
void text_add(struct text *text, const char *string);
//@ assigns *text;
void text_add_bytes(struct text *text, const void *bytes, size_t size);
#define text_printf(text, format, value) text_add(text, format)

#include "debug/gdb/packet.c"

//@ predicate parsing(struct packet_parser *parser) = \valid(parser) && parser->size <= PACKET_MAX;

/*@ requires parsing(parser);
    assigns parser->state, parser->sum, parser->size, parser->too_long \from \nothing;
    ensures parsing(parser); */
static void packet_begin(struct packet_parser *parser);

/*@ requires parsing(parser);
    assigns parser->data[0 .. PACKET_MAX], parser->size, parser->too_long \from *parser, byte;
    ensures parsing(parser); */
static void packet_store(struct packet_parser *parser, uint8_t byte);

/*@ requires parsing(parser);
    assigns *parser, \result \from *parser, byte;
    ensures parsing(parser) && \result != PACKET_COMPLETE && \result != PACKET_BAD; */
static enum packet_event packet_between(struct packet_parser *parser, uint8_t byte);

/*@ requires parsing(parser);
    assigns *parser, \result \from *parser, byte;
    ensures parsing(parser) && \result == PACKET_NONE; */
static enum packet_event packet_payload(struct packet_parser *parser, uint8_t byte);

/*@ requires parsing(parser);
    assigns *parser, \result \from *parser;
    ensures parsing(parser) && parser->data[parser->size] == 0; */
static enum packet_event packet_end(struct packet_parser *parser);

/*@ requires parsing(parser);
    assigns *parser, \result \from *parser, byte;
    ensures parsing(parser);
    ensures \result == PACKET_COMPLETE || \result == PACKET_BAD ==>
                parser->data[parser->size] == 0; */
enum packet_event packet_feed(struct packet_parser *parser, uint8_t byte);

/*@ assigns \result \from c;
    ensures -1 <= \result <= 15;
    ensures \result >= 0 ==> c != 0; */
int hex_digit(char c);

/*@ requires size <= OBJECT_MAX && \valid_read(from + (0 .. 2 * size - 1));
    requires \valid((uint8_t *)bytes + (0 .. size - 1));
    assigns ((uint8_t *)bytes)[0 .. size - 1], \result \from from[0 .. 2 * size - 1]; */
bool hex_read(const char *from, void *bytes, size_t size);

/*@ requires \valid(at) && \valid(value) && terminated(*at);
    requires \separated(at, value);
    assigns *at, *value, \result \from *at, (*at)[0 .. 16];
    ensures terminated(*at); */
bool hex_number(const char **at, uint64_t *value);
