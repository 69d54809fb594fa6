# The library as its users meet it: installed, found by pkg-config, linked into a program.

load helpers

# install_library: into $WORK/root, from the build directory of the program under test.
install_library() {
    local build
    build=$(dirname "$(dirname "$UHYVE")")
    DESTDIR=$WORK/root meson install -C "$build" --no-rebuild >"$WORK/install.log" 2>&1 || {
        cat "$WORK/install.log"
        return 1
    }
    pc=$(find "$WORK/root" -name uhyve.pc)
    [[ -n $pc ]]
    export PKG_CONFIG_PATH=${pc%/*} PKG_CONFIG_SYSROOT_DIR=$WORK/root
    library=$(dirname "$(find "$WORK/root" -name libuhyve.so.0)")
}

# install_for_programs: the same, and $example is a program to link with the library.
install_for_programs() {
    install_library
    example=$(dirname "$BATS_TEST_DIRNAME")/../docs/examples/two-vms.c
    if nm -D "$library/libuhyve.so.0" | grep -qE '__(a|t)san_|__gcov_'; then
        skip "this build's library wants a program with the same instrumentation"
    fi
}

@test "a program of somebody else runs two machines at once" {
    skip_unless_kvm
    install_for_programs
    # shellcheck disable=SC2046 # a list of options
    "${CC:-cc}" -Wall -Werror "$example" -o two-vms -pthread \
        $(pkg-config --cflags --libs uhyve)
    LD_LIBRARY_PATH=$library run_limited ./two-vms "$(guest hello-v2)"
    expect_status 0
    [[ $(grep -c '^Hello from a unikernel.$' "$WORK/stdout") == 2 ]]
    expect_stdout_line '^VM A: status 0$'
    expect_stdout_line '^VM B: status 0$'
    expect_no_stderr
    LD_LIBRARY_PATH=$library run_limited ./two-vms /nonexistent
    expect_stdout_line '^VM B: status 127$'
    expect_stderr_line "^VM A: image '/nonexistent' was not found"
}

@test "a static program may have functions with the names of internal ones" {
    skip_unless_kvm
    install_for_programs
    # All the names that are visible between the library's source files.
    nm --defined-only --extern-only "${UHYVE%/*}/libuhyve_internal.a" |
        awk 'NF == 3 && $3 !~ /^uhyve_/ { print $3 }' | sort -u >names
    grep -qx log_warn names
    { echo '#include <stdlib.h>' && sed 's/.*/void &(void) { abort(); }/' names; } >names.c
    # shellcheck disable=SC2046 # a list of options
    "${CC:-cc}" -Wall -Werror "$example" names.c -o two-vms -pthread \
        $(pkg-config --cflags uhyve) -Wl,-Bstatic $(pkg-config --static --libs uhyve) -Wl,-Bdynamic
    run_limited ./two-vms "$(guest hello-v2)"
    expect_status 0
    [[ $(grep -c '^Hello from a unikernel.$' "$WORK/stdout") == 2 ]]
    expect_no_stderr
}

@test "the libraries export the public interface and nothing else" {
    install_library
    nm -D --defined-only "$library/libuhyve.so.0" | awk 'NF == 3 { print $3 }' | sort >shared
    nm -g --defined-only "$library/libuhyve.a" | awk 'NF == 3 { print $3 }' | sort >static
    grep -oE '\buhyve_[a-z_]+\(' "$(find "$WORK/root" -name uhyve.h)" | tr -d '(' | sort -u >declared
    # Sanitizers add symbols of their own.
    grep -vE '^(__|_init|_fini)' shared | diff - declared
    grep -vE '^__' static | diff - declared
}
