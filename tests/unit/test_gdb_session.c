/* What a debug session answers, and what it asks of the machine (spec/debug.md). */
#include "unit.h"

#include <stdio.h>

#include "debug/gdb/session.h"
#include "fake_gdb_machine.h"

static struct fake_machine fake;
static struct gdb_session session;

static int fresh(void **state)
{
    fake_machine_init(&fake);
    assert_int_equal(gdb_session_init(&session, &fake.machine), 0);
    return 0;
}

static int release(void **state)
{
    gdb_session_free(&session);
    return 0;
}

/* What the session has sent since the last call, terminated. */
static const char *sent(void)
{
    static char copy[4 * PACKET_MAX];
    size_t size = session.out.size < sizeof copy - 1 ? session.out.size : sizeof copy - 1;
    if (size)
        memcpy(copy, session.out.data, size);
    copy[size] = '\0';
    session.out.size = 0;
    return copy;
}

/* Send a packet; the payload of what comes back, "" for an empty packet, NULL for none. */
static const char *ask_bytes(const char *payload, size_t size)
{
    static char reply[2 * PACKET_MAX];
    struct packet_parser *parser = calloc(1, sizeof *parser);
    struct text packet = {0};
    const char *result = NULL;
    packet_add(&packet, payload, size);
    gdb_session_receive(&session, packet.data, packet.size);
    text_free(&packet);
    for (size_t i = 0; i < session.out.size; i++)
        if (packet_feed(parser, (uint8_t)session.out.data[i]) == PACKET_COMPLETE) {
            memcpy(reply, parser->data, parser->size + 1);
            result = reply;
        }
    session.out.size = 0;
    free(parser);
    return result;
}

static const char *ask(const char *payload)
{
    return ask_bytes(payload, strlen(payload));
}

#define EXPECT(payload, reply) assert_string_equal(ask(payload), reply)

static void expect_error(const char *payload)
{
    const char *reply = ask(payload);
    assert_non_null(reply);
    assert_int_equal(strlen(reply), 3);
    assert_int_equal(reply[0], 'E');
}

static void packets_are_acknowledged_until_told_otherwise(void **state)
{
    gdb_session_receive(&session, "$qC#b4", 6);
    assert_string_equal(sent(), "+$QC1#c5");
    gdb_session_receive(&session, "+-", 2); /* lost: once more */
    assert_string_equal(sent(), "$QC1#c5");
    gdb_session_receive(&session, "$qC#00", 6);
    assert_string_equal(sent(), "-");
    gdb_session_receive(&session, "$QStartNoAckMode#b0", 19);
    assert_string_equal(sent(), "+$OK#9a");
    gdb_session_receive(&session, "+$qC#00-", 8); /* checksums do not count any more */
    assert_string_equal(sent(), "$QC1#c5");
}

static void unknown_packets_get_an_empty_reply(void **state)
{
    static const char *const packets[] = {"vMustReplyEmpty",
                                          "qTStatus",
                                          "QNonStop:1",
                                          "!",
                                          "qCRC:0,1",
                                          "vFile:open:2f,0,0",
                                          "R00",
                                          "",
                                          "x",
                                          "qTfV",
                                          "vCtrlC",
                                          "jThreadsInfo",
                                          "qXfer:auxv:read::0,10"};
    for (size_t i = 0; i < sizeof packets / sizeof *packets; i++)
        EXPECT(packets[i], "");
}

static void features_are_negotiated(void **state)
{
    const char *reply = ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386");
    static const char *const words[] = {"PacketSize=4000",        "vContSupported+",
                                        "multiprocess+",          "QStartNoAckMode+",
                                        "qXfer:features:read+",   "qXfer:exec-file:read+",
                                        "qXfer:memory-map:read+", "qXfer:threads:read+"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_non_null(strstr(reply, words[i]));
    EXPECT("qC", "QCp1.1");
    EXPECT("qfThreadInfo", "mp1.1,p1.2");
    EXPECT("qsThreadInfo", "l");
    EXPECT("qAttached:1", "1");
    EXPECT("qSymbol::", "OK");
    EXPECT("qOffsets", "TextSeg=40200000");
    fake.machine.relocated = false;
    EXPECT("qOffsets", "Text=0;Data=0;Bss=0");
}

static void threads_are_selected(void **state)
{
    char expected[64];
    EXPECT("Hg2", "OK");
    EXPECT("qC", "QC2");
    snprintf(expected, sizeof expected, "%02x00204000000000", 1);
    EXPECT("p10", expected);
    EXPECT("Hg0", "OK");
    EXPECT("qC", "QC1");
    EXPECT("Hgp1.2", "OK");
    EXPECT("Hg-1", "OK");
    EXPECT("T1", "OK");
    EXPECT("T2", "OK");
    EXPECT("Tp1.2", "OK");
    EXPECT("Hgp1", "OK"); /* a process alone: all of its threads */
    EXPECT("Hgp-1", "OK");
    EXPECT("Hgp1.-1", "OK");
    EXPECT("Hcp-1.-1", "OK");
    EXPECT("Hc2", "OK");
    EXPECT("Hc0", "OK");
    expect_error("Hgp2.1");
    expect_error("Hgp1.3");
    expect_error("Hgp");
    expect_error("Hg");
    expect_error("Hx1");
    expect_error("Hg1x");
    expect_error("T3");
    expect_error("Tp2.1");
    expect_error("T-1");
    expect_error("T1x");
    expect_error("T");
    expect_error("Hg3");
    expect_error("Hx1");
    expect_error("H");
    EXPECT("qThreadExtraInfo,2", "4350552031");
    expect_error("qThreadExtraInfo,9");
}

static void registers_are_read_and_written(void **state)
{
    const char *block = ask("g");
    assert_int_equal(strlen(block) % 2, 0);
    assert_true(strlen(block) >= 2 * GDB_REGISTERS_MIN_SIZE);
    char *copy = strdup(block);
    memcpy(copy, "G", 0);
    size_t size = strlen(copy);
    char *packet = malloc(size + 2);
    packet[0] = 'G';
    memcpy(packet + 1, copy, size + 1);
    memcpy(packet + 1, "2a00000000000000", 16);
    EXPECT(packet, "OK");
    assert_int_equal(fake.state[0].gpr[X86_RAX], 42);
    packet[2 * GDB_REGISTERS_MIN_SIZE] = '\0';
    expect_error(packet);
    free(packet);
    free(copy);
    EXPECT("P0=0100000000000000", "OK");
    assert_int_equal(fake.state[0].gpr[X86_RAX], 1);
    EXPECT("p0", "0100000000000000");
    expect_error("P0=01");
    expect_error("P999=01");
    expect_error("p999");
    fake.busy[0] = true;
    expect_error("P0=0100000000000000");
    EXPECT("p28", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

static const char *monitor(const char *line)
{
    char packet[600] = "qRcmd,";
    for (size_t i = 0; line[i]; i++)
        snprintf(packet + strlen(packet), 3, "%02x", (unsigned char)line[i]);
    struct text framed = {0};
    packet_add(&framed, packet, strlen(packet));
    gdb_session_receive(&session, framed.data, framed.size);
    text_free(&framed);
    /* Console packets, then OK: the text of the former. */
    static char shown[8192];
    size_t size = 0;
    const char *reply = sent();
    assert_non_null(strstr(reply, "$OK#"));
    for (const char *at = reply; (at = strstr(at, "$O")) && at[2] != 'K'; at++) {
        size_t digits = strcspn(at + 2, "#");
        assert_true(size + digits / 2 < sizeof shown && hex_read(at + 2, shown + size, digits / 2));
        size += digits / 2;
    }
    shown[size] = '\0';
    return shown;
}

/* "xx" leaves a register as it is; a block may end after the ones that everybody has, not in one.
 */
static void register_blocks_may_have_holes(void **state)
{
    size_t size = strlen(ask("g"));
    char *packet = malloc(size + 2);

    fake.state[0].gpr[X86_RAX] = 7;
    packet[0] = 'G';
    memset(packet + 1, 'x', size);
    packet[size + 1] = '\0';
    memcpy(packet + 1 + 16, "0900000000000000", 16);
    EXPECT(packet, "OK");
    assert_int_equal(fake.state[0].gpr[X86_RAX], 7);
    assert_int_equal(fake.state[0].gpr[X86_RBX], 9);
    packet[2 * GDB_REGISTERS_MIN_SIZE + 1] = '\0';
    EXPECT(packet, "OK");
    packet[2 * GDB_REGISTERS_MIN_SIZE + 1] = '0';
    packet[2 * GDB_REGISTERS_MIN_SIZE + 2] = '\0';
    expect_error(packet);
    free(packet);
}

/* As if the vCPU's thread were gone: nothing is invented, nothing is changed. */
static void registers_that_cannot_be_had(void **state)
{
    fake.lost[0] = true;
    EXPECT("p0", "xxxxxxxxxxxxxxxx");
    expect_error("P0=0100000000000000");
    expect_error("m40200000,4");
    expect_error("M40200000,1:00");
    expect_error("X40200000,1:0");
    expect_error("Z0,40200000,1");
    expect_error("c40200000");
    assert_int_equal(fake.resumed, 0);
    assert_int_equal(fake.written, 0);
    assert_string_equal(monitor("regs"), "the registers of CPU 0 are not known\n");
    assert_string_equal(monitor("walk 0x1000"), "the page tables of CPU 0 are not known\n");
    EXPECT("Hg2", "OK");
    EXPECT("p0", "0000000000000000");
}

static void memory_is_read_and_written(void **state)
{
    EXPECT("M40200000,3:010203", "OK");
    EXPECT("m40200000,4", "01020300");
    assert_string_equal(ask_bytes("X40200001,2:\0#", 14), "OK");
    EXPECT("m40200000,4", "01002300");
    EXPECT("X40200000,0:", "OK");
    EXPECT("m40200000,0", "");
    /* As much as there is. */
    EXPECT("m403ffffe,4", "0000");
    EXPECT("m1ffe,10", "0000");
    expect_error("m0,1");
    expect_error("M0,1:00");
    /* Beyond RAM, and around the end of the address space. */
    EXPECT("m403fffff,2", "00");
    expect_error("m40400000,1");
    expect_error("Mffffffffffffffff,2:0000");
    expect_error("M403fffff,2:0000");
    fake.state[0].cr0 = 0;
    EXPECT("mffffffffffffffff,2", "E0e");
    EXPECT("m403fffff,2", "00");
    EXPECT("M403ffffe,2:0102", "OK");
    fake.state[0].cr0 = X86_CR0_PG | X86_CR0_PE;
    expect_error("m40200000");
    expect_error("m,1");
    expect_error("M40200000,2:00");
    expect_error("M40200000,1:0");
    expect_error("X40200000,9:00");
    expect_error("X40200000,ffffffffffffffff:00");
    assert_int_equal(strlen(ask("m40200000,ffffffff")), PACKET_MAX);
}

static void breakpoints_are_set(void **state)
{
    EXPECT("Z0,40200000,1", "OK");
    EXPECT("Z0,40200000,1", "OK");
    assert_int_equal(fake.memory[0x200000], 0xcc);
    EXPECT("m40200000,1", "00");
    EXPECT("z0,40200000,1", "OK");
    assert_int_equal(fake.memory[0x200000], 0);
    expect_error("z0,40200000,1");
    expect_error("Z0,40200000,2");
    expect_error("Z0,0,1");
    EXPECT("Z1,40200000,1", "OK");
    EXPECT("Z2,1000,8", "OK");
    expect_error("Z3,1000,8");
    EXPECT("Z4,1000,4", "OK");
    EXPECT("Z2,2000,1", "OK");
    expect_error("Z2,3000,1");
    EXPECT("z2,1000,8", "OK");
    expect_error("Z9,1000,1");
    expect_error("Z0");
    expect_error("Z");
}

static void expect_actions(enum gdb_action_kind first, enum gdb_action_kind second)
{
    assert_int_equal(fake.actions[0].kind, first);
    assert_int_equal(fake.actions[1].kind, second);
    gdb_session_stopped(&session, &(struct gdb_stop){.cpu = 0, .signal = GDB_SIGTRAP});
    session.out.size = 0;
}

static void vcont_has_actions_for_threads(void **state)
{
    EXPECT("vCont?", "vCont;c;C;s;S;t;r");
    assert_null(ask("vCont;c"));
    expect_actions(GDB_CONTINUE, GDB_CONTINUE);
    assert_null(ask("vCont;s:2"));
    expect_actions(GDB_HOLD, GDB_STEP);
    assert_null(ask("vCont;s:p1.1;c"));
    expect_actions(GDB_STEP, GDB_CONTINUE);
    assert_null(ask("vCont;C0b:1;S05:2"));
    expect_actions(GDB_CONTINUE, GDB_STEP);
    assert_null(ask("vCont;c:p1.-1"));
    expect_actions(GDB_CONTINUE, GDB_CONTINUE);
    assert_null(ask("vCont;t:1;c"));
    expect_actions(GDB_HOLD, GDB_CONTINUE);
    assert_null(ask("vCont;r40200000,40200010:1"));
    assert_int_equal(fake.actions[0].range_start, 0x40200000);
    assert_int_equal(fake.actions[0].range_end, 0x40200010);
    expect_actions(GDB_STEP, GDB_HOLD);
    expect_error("vCont;t");
    expect_error("vCont;");
    expect_error("vCont;x");
    expect_error("vCont;c:3");
    expect_error("vCont;s:1,");
    expect_error("vCont;r1:1");
    assert_int_equal(fake.resumed, 7);
}

static void old_packets_resume_too(void **state)
{
    assert_null(ask("c"));
    expect_actions(GDB_CONTINUE, GDB_CONTINUE);
    assert_null(ask("s"));
    expect_actions(GDB_STEP, GDB_CONTINUE);
    ask("Hc2");
    assert_null(ask("s40200010"));
    assert_int_equal(fake.state[1].rip, 0x40200010);
    expect_actions(GDB_HOLD, GDB_STEP);
    ask("Hc0");
    assert_null(ask("C05"));
    expect_actions(GDB_CONTINUE, GDB_CONTINUE);
    assert_null(ask("S05;40200020"));
    assert_int_equal(fake.state[0].rip, 0x40200020);
    expect_actions(GDB_STEP, GDB_CONTINUE);
    expect_error("cxyz");
    expect_error("C");
}

static const char *stop_with(enum gdb_reason reason, enum gdb_signal signal)
{
    ask("vCont;c");
    gdb_session_stopped(&session, &(struct gdb_stop){1, signal, reason, 0x1000});
    return sent();
}

static void stops_are_reported(void **state)
{
    assert_null(strstr(stop_with(GDB_REASON_SOFTWARE, GDB_SIGTRAP), "swbreak"));
    ask("qSupported:swbreak+;hwbreak+;multiprocess+");
    assert_non_null(strstr(stop_with(GDB_REASON_SOFTWARE, GDB_SIGTRAP), "swbreak:;"));
    assert_non_null(strstr(stop_with(GDB_REASON_HARDWARE, GDB_SIGTRAP), "hwbreak:;"));
    assert_non_null(strstr(stop_with(GDB_REASON_WATCH, GDB_SIGTRAP), ";watch:1000;"));
    assert_non_null(strstr(stop_with(GDB_REASON_ACCESS, GDB_SIGTRAP), ";awatch:1000;"));
    const char *reply = stop_with(GDB_REASON_NONE, GDB_SIGSEGV);
    assert_non_null(strstr(reply, "$T0b"));
    assert_non_null(strstr(reply, "thread:p1.2;"));
    assert_non_null(strstr(reply, "10:0100204000000000;"));
    EXPECT("qC", "QCp1.2"); /* the one that stopped */
    assert_non_null(strstr(ask("?"), "T0b"));
}

static void a_running_guest_can_only_be_interrupted(void **state)
{
    assert_null(ask("vCont;c"));
    expect_error("g");
    expect_error("vCont;c");
    gdb_session_receive(&session, "\x03", 1);
    assert_int_equal(fake.interrupted, 1);
    gdb_session_stopped(&session, &(struct gdb_stop){.signal = GDB_SIGINT});
    assert_non_null(strstr(sent(), "$T02"));
    gdb_session_receive(&session, "\x03", 1); /* it is stopped already */
    assert_int_equal(fake.interrupted, 1);
}

static void documents_are_read_in_pieces(void **state)
{
    char request[64], whole[3 * PACKET_MAX];
    size_t size = 0;
    for (;;) {
        snprintf(request, sizeof request, "qXfer:features:read:target.xml:%zx,100", size);
        const char *piece = ask(request);
        size_t length = strlen(piece);
        assert_true(length >= 1 && size + length < sizeof whole);
        memcpy(whole + size, piece + 1, length);
        size += length - 1;
        if (piece[0] == 'l')
            break;
        assert_int_equal(piece[0], 'm');
    }
    assert_non_null(strstr(whole, "<architecture>i386:x86-64</architecture>"));
    assert_non_null(strstr(whole, "</target>"));
    EXPECT("qXfer:exec-file:read:1:0,100", "l/images/fake");
    EXPECT("qXfer:exec-file:read::8,2", "mfa");
    assert_non_null(strstr(ask("qXfer:threads:read::0,1000"), "name=\"CPU 1\""));
    assert_non_null(strstr(ask("qXfer:memory-map:read::0,1000"), "type=\"ram\""));
    expect_error("qXfer:features:read:other.xml:0,100");
    expect_error("qXfer:features:read:target.xml:ffffff,100");
    expect_error("qXfer:features:read:target.xml:0");
    EXPECT("qXfer:exec-file:read::0,0", "m");
    expect_error("qXfer:exec-file:read::x,1");
    expect_error("qXfer:exec-file:read::0,");
    expect_error("qXfer:exec-file:read::0,1x");
    EXPECT("qXfer:exec-file:read::c,1", "l");
    assert_non_null(strstr(ask("qSupported"), "exec-file:read+"));
    fake.machine.image = NULL;
    assert_null(strstr(ask("qSupported"), "exec-file:read+"));
    EXPECT("qXfer:exec-file:read::0,100", "l");
}

static void monitor_commands(void **state)
{
    assert_non_null(strstr(monitor("help"), "walk"));
    assert_non_null(strstr(monitor("info"), "a fake machine"));
    assert_non_null(strstr(monitor("stats"), "a fake machine"));
    assert_non_null(strstr(monitor("regs"), "rip    0000000040200000"));
    assert_non_null(strstr(monitor("walk 0x1008"), "guest-physical 0x40100008"));
    assert_non_null(strstr(monitor("walk 40200000"), "guest-physical 0x40200000"));
    assert_non_null(strstr(monitor("walk 0x3000"), "not present"));
    assert_non_null(strstr(monitor("walk 0x8000000000000000"), "not canonical"));
    assert_non_null(strstr(monitor("walk"), "which address"));
    assert_non_null(strstr(monitor("sing"), "no command 'sing'"));
    assert_non_null(strstr(monitor(""), "no command ''"));
    expect_error("qRcmd,0");
    expect_error("qRcmd,zz");
    char most[1200] = "qRcmd,";
    memset(most + 6, '4', 1000);
    expect_error(most);
}

static void detaching_undoes_everything(void **state)
{
    EXPECT("Z0,40200000,1", "OK");
    EXPECT("Z2,1000,8", "OK");
    EXPECT("D", "OK");
    assert_true(session.over);
    assert_int_equal(fake.detached, 1);
    assert_int_equal(fake.memory[0x200000], 0);
    assert_int_equal(fake.slot[0].kind, ACCEL_BREAK_NONE);
    gdb_session_free(&session);
    assert_int_equal(fake.detached, 1);
}

static void a_lost_connection_is_a_detach(void **state)
{
    EXPECT("Z0,40200000,1", "OK");
    gdb_session_free(&session);
    assert_int_equal(fake.detached, 1);
    assert_int_equal(fake.memory[0x200000], 0);
}

static void kill_ends_the_guest(void **state)
{
    assert_null(ask("k"));
    assert_true(session.over);
    assert_int_equal(fake.killed, 1);
    gdb_session_free(&session);
    assert_int_equal(fake.detached, 0);
    fresh(NULL);
    EXPECT("vKill;1", "OK");
    assert_int_equal(fake.killed, 1);
}

/* Of an impatient client. The guest must be stopped for it. */
static void detaching_from_a_running_guest(void **state)
{
    EXPECT("Z0,40200000,1", "OK");
    ask("vCont;c");
    EXPECT("D;1", "OK");
    assert_int_equal(fake.interrupted, 1);
    assert_int_equal(fake.memory[0x200000], 0);
}

static void the_end_is_reported(void **state)
{
    ask("vCont;c");
    gdb_session_exited(&session, 256 + 7);
    assert_string_equal(sent(), "$W07#be");
    assert_true(session.over);
    gdb_session_free(&session);
    assert_int_equal(fake.detached, 0);
    fresh(NULL);
    ask("qSupported:multiprocess+");
    ask("vCont;c");
    gdb_session_signalled(&session, GDB_SIGSEGV);
    assert_non_null(strstr(sent(), "$X0b;process:1#"));
    gdb_session_free(&session);
    /* A client that has stopped the guest does not wait for anything. */
    fresh(NULL);
    gdb_session_exited(&session, 0);
    assert_string_equal(sent(), "");
}

static void long_packets_are_an_error(void **state)
{
    size_t size = PACKET_MAX + 100;
    char *packet = malloc(size);
    memset(packet, 'm', size);
    const char *reply = ask_bytes(packet, size);
    assert_non_null(reply);
    assert_int_equal(reply[0], 'E');
    free(packet);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(packets_are_acknowledged_until_told_otherwise),
        TEST(unknown_packets_get_an_empty_reply),
        TEST(features_are_negotiated),
        TEST(threads_are_selected),
        TEST(registers_are_read_and_written),
        TEST(register_blocks_may_have_holes),
        TEST(registers_that_cannot_be_had),
        TEST(memory_is_read_and_written),
        TEST(breakpoints_are_set),
        TEST(vcont_has_actions_for_threads),
        TEST(old_packets_resume_too),
        TEST(stops_are_reported),
        TEST(a_running_guest_can_only_be_interrupted),
        TEST(documents_are_read_in_pieces),
        TEST(monitor_commands),
        TEST(detaching_undoes_everything),
        TEST(a_lost_connection_is_a_detach),
        TEST(kill_ends_the_guest),
        TEST(detaching_from_a_running_guest),
        TEST(the_end_is_reported),
        TEST(long_packets_are_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
