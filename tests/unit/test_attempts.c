/* How often something is tried that works, or does not. */
#include "unit.h"

#include "util/attempts.h"

/* How many turns pass before the next attempt. */
static unsigned turns_left_out(struct attempts *attempts)
{
    unsigned turns = 0;

    while (!attempts_due(attempts))
        turns++;
    return turns;
}

static void each_failure_in_sequence_leaves_out_more(void **unused)
{
    static const unsigned expected[] = {0, 1, 3, 7, 15, 31, 63, 63, 63};
    struct attempts attempts = {0};

    for (unsigned i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(turns_left_out(&attempts), expected[i]);
        attempts_failed(&attempts);
    }
}

static void what_works_is_tried_each_time(void **unused)
{
    struct attempts attempts = {0};

    for (unsigned i = 0; i < 3; i++) {
        attempts_failed(&attempts);
        assert_true(turns_left_out(&attempts) > 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        attempts_worked(&attempts);
        assert_int_equal(turns_left_out(&attempts), 0);
    }
    attempts_failed(&attempts);
    assert_int_equal(turns_left_out(&attempts), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failure_in_sequence_leaves_out_more),
        cmocka_unit_test(what_works_is_tried_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
