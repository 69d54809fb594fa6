# Arguments and environments beyond the ordinary.

load helpers

# many_variables COUNT: the options that set VARIABLE_1=value_1 and so on.
many_variables() {
    options=()
    for ((i = 1; i <= $1; i++)); do
        options+=(-e "VARIABLE_$i=value_$i")
    done
}

@test "a thousand variables reach a current kernel" {
    skip_unless_kvm
    many_variables 1000
    for name in env-v1 env-v2; do
        run_uhyve "${options[@]}" "$(guest $name)"
        expect_status 0
        expect_no_stderr
        for i in 1 128 129 256 257 1000; do
            expect_stdout_line "^VARIABLE_$i=value_$i\$"
        done
        [[ $(grep -c '^VARIABLE_' "$WORK/stdout") == 1000 ]]
    done
}

@test "one variable may be longer than the usual device tree" {
    skip_unless_kvm
    long=$(head -c 100000 /dev/zero | tr '\0' x)
    # A fixed address leaves as much room, though the kernel cannot move.
    for name in env-v1 env-v2 env-exec-v2; do
        [[ -e $GUESTS/$name ]] || continue
        run_uhyve -e "LONG=$long" "$(guest $name)"
        expect_status 0
        expect_stdout_line "^LONG=x{100,}"
        [[ $(grep -a '^LONG=' "$WORK/stdout" | wc -c) == 100006 ]]
    done
}

@test "kernels that take lists get 128 variables and a warning" {
    skip_unless_kvm
    many_variables 200
    run_uhyve "${options[@]}" "$(guest env-legacy)"
    expect_status 0
    expect_stderr_line '^uhyve: warning: 72 environment variables are dropped'
    [[ $(grep -c '^VARIABLE_' "$WORK/stdout") == 128 ]]
}

@test "kernels that take lists get 128 arguments and a warning" {
    skip_unless_kvm
    run_uhyve "$(guest echo-args-legacy)" -- -- $(seq 200)
    expect_status 0
    # The image's path and the separator are arguments, too.
    expect_stderr_line '^uhyve: warning: 74 arguments are dropped'
}
