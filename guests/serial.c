/*
 * Every way to write to the serial channel, of both generations whatever the image announces:
 * one line each.
 */
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

static void uart_bytes(const char *text)
{
    for (; *text != '\0'; text++)
        cpu_out8(HERMIT_V1_UART, (uint8_t)*text);
}

static void uart_words(const char *text)
{
    for (; *text != '\0'; text++)
        cpu_out32(HERMIT_V1_UART, 0xffffff00 | (uint8_t)*text); /* only the low byte counts */
}

/* One instruction, many characters: string output. */
static void uart_string(const char *text)
{
    uint64_t count = text_length(text);
    __asm__ volatile("rep outsb" : "+S"(text), "+c"(count) : "d"(HERMIT_V1_UART) : "memory");
}

static void buffer_v1(const char *text)
{
    struct hermit_v1_serial_write block = {.buf = (uintptr_t)text, .len = text_length(text)};
    hypercall_v1(HERMIT_V1_SERIAL_WRITE_BUFFER, (uintptr_t)&block);
}

static void buffer_v2(const char *text)
{
    struct hermit_v2_serial_write block = {.buf = (uintptr_t)text, .len = text_length(text)};
    hypercall_v2(HERMIT_V2_SERIAL_WRITE_BUFFER, (uintptr_t)&block);
}

static void bytes_v2(const char *text)
{
    for (; *text != '\0'; text++)
        hypercall_v2(HERMIT_V2_SERIAL_WRITE_BYTE, UINT64_C(0x5a5a00) | (uint8_t)*text);
}

int main(void)
{
    uart_bytes("uart, 8 bits\n");
    uart_words("uart, 32 bits\n");
    uart_string("uart, string\n");
    bytes_v2("v2 bytes\n");
    buffer_v2("v2 buffer\n");
    /* Generation 1 cannot name an address of 4 GiB and more. */
    if (boot_info->phys_addr_end <= UINT64_C(1) << 32)
        buffer_v1("v1 buffer\n");

    struct hermit_v2_serial_read block = {.maxlen = 1, .len = 77, .buf = (uintptr_t) & (char){0}};
    hypercall_v2(HERMIT_V2_SERIAL_READ_BUFFER, (uintptr_t)&block);
    hypercall_v2(HERMIT_V2_SERIAL_READ_BYTE, 0);
    print_serial("read %lu\n", block.len);
    return 0;
}
