/* The guest's descriptors (spec/files.md section 5). */
#include "unit.h"

#include <errno.h>
#include <pthread.h>

#include "fs/fdtable.h"

/* The linker gives us the table's calls of open_file_hold (--wrap). */
struct open_file *__real_open_file_hold(struct open_file *file);
struct open_file *__wrap_open_file_hold(struct open_file *file);

static struct fdtable *watched;
static unsigned held_locked, held_unlocked;

struct open_file *__wrap_open_file_hold(struct open_file *file)
{
    if (watched && pthread_mutex_trylock(&watched->lock) == 0) {
        held_unlocked++;
        pthread_mutex_unlock(&watched->lock);
    } else if (watched) {
        held_locked++;
    }
    return __real_open_file_hold(file);
}

static struct open_file *make_file(void)
{
    struct open_file *file;
    assert_int_equal(open_file_bytes("x", 1, &file), 0);
    return file;
}

static int32_t add(struct fdtable *table)
{
    int err = fdtable_reserve(table);
    return err ? err : fdtable_install(table, make_file());
}

static void numbers_are_given_once(void **state)
{
    struct fdtable table;
    fdtable_init(&table, 100);
    for (int32_t expected = 3; expected < 1000; expected++) {
        assert_int_equal(add(&table), expected);
        if (expected % 3)
            open_file_release(fdtable_remove(&table, expected));
        if (expected % 30 == 0)
            open_file_release(fdtable_remove(&table, expected - 27));
        if (table.count > 90)
            for (int32_t i = 0; i < expected; i++) {
                struct open_file *file = fdtable_remove(&table, i);
                if (file)
                    open_file_release(file);
            }
    }
    fdtable_destroy(&table);
}

static void only_what_is_there_is_found(void **state)
{
    static const int32_t none[] = {0, 1, 2, -1, INT32_MIN, INT32_MAX, 6, 13};
    struct fdtable table;
    struct open_file *file;

    fdtable_init(&table, 10);
    for (int32_t i = 3; i < 13; i++)
        assert_int_equal(add(&table), i);
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    open_file_release(fdtable_remove(&table, 6));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(fdtable_get(&table, none[i]));
        assert_null(fdtable_remove(&table, none[i]));
    }
    for (int32_t i = 3; i < 13; i++) {
        file = fdtable_get(&table, i);
        assert_int_equal(file != NULL, i != 6);
        if (file)
            open_file_release(file);
    }
    /* A file in use outlives its descriptor. */
    file = fdtable_get(&table, 4);
    open_file_release(fdtable_remove(&table, 4));
    char byte;
    assert_int_equal(open_file_read(file, &(struct iovec){&byte, 1}, 1, -1), 1);
    open_file_release(file);
    fdtable_destroy(&table);
}

static void promises_count(void **state)
{
    struct fdtable table;
    fdtable_init(&table, 2);
    assert_int_equal(fdtable_reserve(&table), 0);
    assert_int_equal(fdtable_reserve(&table), 0);
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    fdtable_cancel(&table);
    assert_int_equal(add(&table), 3);
    assert_int_equal(fdtable_install(&table, make_file()), 4);
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    fdtable_destroy(&table);
}

static void numbers_run_out(void **state)
{
    struct fdtable table;
    fdtable_init(&table, 10);
    table.next = INT32_MAX - 1;
    assert_int_equal(fdtable_reserve(&table), 0);
    assert_int_equal(fdtable_reserve(&table), 0);
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    assert_int_equal(fdtable_install(&table, make_file()), INT32_MAX - 1);
    assert_int_equal(fdtable_install(&table, make_file()), INT32_MAX);
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    open_file_release(fdtable_remove(&table, INT32_MAX));
    assert_int_equal(fdtable_reserve(&table), -EMFILE);
    fdtable_destroy(&table);
}

static void *hammer(void *context)
{
    struct fdtable *table = context;
    for (unsigned i = 0; i < 5000; i++) {
        int32_t number = add(table);
        if (number < 0)
            number = 3 + (int32_t)(i % 100);
        struct open_file *file = fdtable_get(table, number - (int32_t)(i % 7));
        if (file)
            open_file_release(file);
        file = fdtable_remove(table, number - (int32_t)(i % 5));
        if (file)
            open_file_release(file);
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct fdtable table;
    pthread_t threads[4];

    fdtable_init(&table, 50);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &table), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(table.count <= 50 && table.reserved == 0);
    fdtable_destroy(&table);
}

#define SHARED 2000

static void *use_all(void *argument)
{
    struct fdtable *table = argument;
    for (int32_t i = 3; i < 3 + SHARED; i++) {
        struct open_file *file = fdtable_get(table, i);
        if (file)
            open_file_release(file);
    }
    return NULL;
}

static void *close_all(void *argument)
{
    struct fdtable *table = argument;
    for (int32_t i = 3; i < 3 + SHARED; i++)
        open_file_release(fdtable_remove(table, i));
    return NULL;
}

/* A file that is in use when its descriptor goes stays until it is not. The sanitizers look. */
static void what_is_in_use_is_kept(void **state)
{
    struct fdtable table;
    pthread_t threads[3];

    for (unsigned round = 0; round < 5; round++) {
        fdtable_init(&table, SHARED);
        for (int32_t i = 0; i < SHARED; i++)
            assert_true(add(&table) >= 0);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(
                pthread_create(&threads[i], NULL, i == 1 ? close_all : use_all, &table), 0);
        for (size_t i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(table.count, 0);
        fdtable_destroy(&table);
    }
}

/* Without the lock the file could go between its being found and held. */
static void the_lock_is_held_until_the_file_is(void **state)
{
    struct fdtable table;

    fdtable_init(&table, 10);
    int32_t number = add(&table);
    watched = &table;
    open_file_release(fdtable_get(&table, number));
    watched = NULL;
    assert_int_equal(held_locked, 1);
    assert_int_equal(held_unlocked, 0);
    fdtable_destroy(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_given_once),
        cmocka_unit_test(only_what_is_there_is_found),
        cmocka_unit_test(promises_count),
        cmocka_unit_test(numbers_run_out),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(what_is_in_use_is_kept),
        cmocka_unit_test(the_lock_is_held_until_the_file_is),
    };
    return cmocka_run_group_tests_name("fdtable", tests, NULL, NULL);
}
