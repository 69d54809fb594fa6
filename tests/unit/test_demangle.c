/* Source names of mangled ones. */
#include "unit.h"

#include <stdio.h>

#include "debug/demangle.h"

static void names(void **state)
{
#ifdef HAVE_LIBIBERTY
    static const struct {
        const char *mangled, *source;
    } cases[] = {
        {"_ZN9crash_app7trouble17hfedcba9876543210E", "crash_app::trouble"},
        {"_ZN9crash_app7trouble17hfedcba9876543210E.llvm.123", "crash_app::trouble"},
        {"_ZN4demo4main28_$u7b$$u7b$closure$u7d$$u7d$17hb03885e75481130aE",
         "demo::main::{{closure}}"},
        {"_ZN50_$LT$T$u20$as$u20$core..convert..From$LT$U$GT$$GT$4from17h0123456789abcdefE",
         "<T as core::convert::From<U>>::from"},
        {"_RNvNtCs1a2b3c_9crash_app4deep7trouble", "crash_app::deep::trouble"},
        {"_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>"},
        {"_ZNSt6vectorIiSaIiEE9push_backERKi",
         "std::vector<int, std::allocator<int> >::push_back(int const&)"},
        {"_Z3addii", "add(int, int)"},
        {"main", "main"},
        {"_start", "_start"},
        {"_Z", "_Z"},
        {"_R", "_R"},
        {"", ""},
    };
    char to[DEMANGLE_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(demangle(cases[i].mangled, to), cases[i].source);
#else
    skip();
#endif
}

static void hostile_names(void **state)
{
    static char name[5000];
    char to[DEMANGLE_MAX];

    /* Longer than what is looked at. */
    memset(name, 'x', sizeof name - 1);
    memcpy(name, "_ZN4", 4);
    assert_int_equal(strlen(demangle(name, to)), DEMANGLE_MAX - 1);

    /* Each pair of types doubles the length of the last one: 2 to the power of 60 characters. */
    strcpy(name, "_Z1f1AIiiE");
    for (int i = 0; i < 36; i++)
        snprintf(name + strlen(name), 32, "1AIS%c_S%c_E", i < 10 ? '0' + i : 'A' + i - 10,
                 i < 10 ? '0' + i : 'A' + i - 10);
    demangle(name, to);
    assert_true(strlen(to) < DEMANGLE_MAX);

    /* Nested without end. */
    memset(name, 'P', 1000);
    memcpy(name, "_Z1f", 4);
    name[1000] = '\0';
    demangle(name, to);
    memset(name, 'R', 1000);
    memcpy(name, "_RMC0", 5);
    demangle(name, to);
    /* References back to themselves. */
    demangle("_RNvB_1a", to);
    demangle("_RYB_B_B_", to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(hostile_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
