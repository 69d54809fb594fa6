/* Statistics for people and for programs. */
#include "unit.h"

#include "cli/stats.h"

static void durations(void **state)
{
    static const struct {
        uint64_t ns;
        const char *text;
    } times[] = {
        {0, "0ns"},
        {999, "999ns"},
        {1000, "1\u00b5s"},
        {1500, "1.5\u00b5s"},
        {12345678, "12.345678ms"},
        {1000001, "1.000001ms"},
        {2000000000, "2s"},
        {61000000001, "61.000000001s"},
    };
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct text text = {0};
        stats_add_duration(&text, times[i].ns);
        assert_string_equal(text.data, times[i].text);
        text_free(&text);
    }
}

static const struct uhyve_stats some_stats = {
    .accel = "k\"v\\m\n",
    .cpu_count = 3,
    .create_ns = 1500000,
    .load_ns = 250000,
    .first_ns = 2000000,
    .exit_ns = 12345678,
    .cpu_run_ns = (const uint64_t[]){10000000, 5000, 0},
    .exits =
        (const struct uhyve_exit_count[]){
            {"Hlt", 12, (const uint64_t[]){0, 12, 0}},
            {"Hypercall(V2(SerialWriteBuffer))", 7, (const uint64_t[]){0, 3, 4}},
            {"Debug", 0, (const uint64_t[]){0, 0, 0}},
        },
    .exit_count = 3,
    .peak_memory = 5 * UHYVE_MIB,
};

static void statistics_as_text(void **state)
{
    struct text text = {0};
    stats_format_text(&text, &some_stats);
    static const char expected[] = "Run statistics:\n"
                                   "VM exits:                            total     cpu1    cpu2 \n"
                                   "  Hlt:                                  12       12         \n"
                                   "  Hypercall(V2(SerialWriteBuffer)):      7        3       4 \n"
                                   "CPU runtimes:\n"
                                   "  cpu 0: 10ms\n"
                                   "  cpu 1: 5\u00b5s\n";
    if (strncmp(text.data, expected, strlen(expected)) != 0)
        fail_msg("%s", text.data);
    assert_non_null(strstr(text.data, "first instruction:     2ms\n"));
    assert_non_null(strstr(text.data, "Peak memory: 5 MiB\n"));
    text_free(&text);
}

static void statistics_as_json(void **state)
{
    struct text text = {0};
    struct uhyve_result result = {.outcome = UHYVE_EXITED, .exit_code = -1};
    stats_format_json(&text, &some_stats, &result);
    assert_string_equal(
        text.data,
        "{\"accel\":\"k\\\"v\\\\m\\u000a\",\"cpus\":3,\"exit_code\":-1,\"time_ns\":{\"create\":"
        "1500000,\"load\":250000,\"first_instruction\":2000000,\"exit\":12345678},\"cpu_run_ns\":"
        "[10000000,5000,0],\"peak_memory\":5242880,\"exits\":{\"Hlt\":{\"total\":12,\"per_cpu\":"
        "[0,12,0]},\"Hypercall(V2(SerialWriteBuffer))\":{\"total\":7,\"per_cpu\":[0,3,4]},"
        "\"Debug\":{\"total\":0,\"per_cpu\":[0,0,0]}}}\n");
    text.size = 0;
    result.outcome = UHYVE_CRASHED;
    stats_format_json(&text, &some_stats, &result);
    assert_non_null(strstr(text.data, "\"exit_code\":null,"));
    text_free(&text);
}

static void statistics_of_the_network(void **state)
{
    struct text text = {0};
    struct uhyve_result result = {.outcome = UHYVE_EXITED};
    struct uhyve_stats stats = some_stats;

    stats_format_text(&text, &stats);
    assert_null(strstr(text.data, "Network"));
    stats.has_net = true;
    stats.net = (struct uhyve_net_stats){.received_frames = 1,
                                         .received_bytes = 1536,
                                         .received_lost = 3,
                                         .sent_frames = 4,
                                         .sent_bytes = 5,
                                         .doorbells = 7,
                                         .interrupts = 8,
                                         .stalls = 9};
    text.size = 0;
    stats_format_text(&text, &stats);
    assert_non_null(strstr(text.data, "Network:\n"
                                      "  received: 1 frames, 1.5 KiB, 3 lost\n"
                                      "  sent: 4 frames, 5 bytes\n"
                                      "  doorbells: 7, interrupts: 8, waits for buffers: 9\n"));
    text.size = 0;
    stats_format_json(&text, &stats, &result);
    assert_non_null(strstr(text.data, "},\"net\":{\"received_frames\":1,\"received_bytes\":1536,"
                                      "\"received_lost\":3,\"sent_frames\":4,\"sent_bytes\":5,"
                                      "\"sent_lost\":0,\"doorbells\":7,\"interrupts\":8,"
                                      "\"stalls\":9}}\n"));
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations),
        cmocka_unit_test(statistics_as_text),
        cmocka_unit_test(statistics_as_json),
        cmocka_unit_test(statistics_of_the_network),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
