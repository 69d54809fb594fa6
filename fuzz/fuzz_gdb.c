/*
 * Fuzz target: a debugger's client that sends anything, to a machine that stops whenever it likes.
 * Packets are limited in what they can say and do to what the machine offers; replies are limited
 * in size.
 *
 * Input: what the client sends. A byte 0xff is ours: the next one says what happens on the side of
 * the machine, a stop of some kind or the guest's end, or that so much of the client's follows that
 * it just fits, or does not. A line feed in place of a checksum stands for the right one, so that
 * whole packets are easy to find: "$g\n".
 */
#include <stdlib.h>

#include "../tests/unit/fake_gdb_machine.h"
#include "fuzz.h"
#include "input.h"

#define OUT_MAX (64 * 1024) /* for each byte that comes in */

static struct fake_machine fake;

static void feed(struct gdb_session *session, const void *bytes, size_t size)
{
    gdb_session_receive(session, bytes, size);
    require(session->out.size <= OUT_MAX);
    session->out.size = 0;
}

/* "#" and the checksum of the packet in the making. */
static void feed_checksum(struct gdb_session *session)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sum = session->parser.sum;
    const char end[] = {'#', digits[sum >> 4], digits[sum & 15]};

    feed(session, end, sizeof end);
}

/* As many bytes as a packet can have, or some more or less. */
static void feed_much(struct gdb_session *session, uint8_t count)
{
    for (int left = PACKET_MAX + count - 16; left > 0; left--)
        feed(session, "0", 1);
}

static void happen(struct gdb_session *session, uint8_t what)
{
    const struct gdb_stop stop = {
        .cpu = what & 1,
        .signal = GDB_SIGTRAP,
        .reason = (what >> 1) % (GDB_REASON_ACCESS + 1),
        .address = FAKE_CODE,
    };

    if (what == 0xfe)
        gdb_session_exited(session, what);
    else if (what == 0xfd)
        gdb_session_signalled(session, GDB_SIGSEGV);
    else
        gdb_session_stopped(session, &stop);
    fake.busy[1] = what & 0x40;
    session->out.size = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct gdb_session session;

    fake_machine_init(&fake);
    require(gdb_session_init(&session, &fake.machine) == 0);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == 0xff && i + 2 < size && data[i + 1] == 0xfc) {
            feed_much(&session, data[i + 2] % 32);
            i += 2;
        } else if (data[i] == 0xff && i + 1 < size)
            happen(&session, data[++i]);
        else if (data[i] == '\n')
            feed_checksum(&session);
        else
            feed(&session, &data[i], 1);
    }
    bool running = session.running;
    gdb_session_free(&session);
    if (!running)
        for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++)
            require(fake.slot[i].kind == ACCEL_BREAK_NONE);
    require(fake.detached + fake.killed <= 1);
    return 0;
}
