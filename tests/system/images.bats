#!/usr/bin/env bats
# Real Hermit images, as users have them. They are not part of the repository: UHYVE_TEST_IMAGES
# names a directory with those of the reference implementation (x86_64, kernel 0.6.9).

load helpers

# Without a few variables the start-up code of these images crashes.
env=(-e A=1 -e B=2 -e C=3 -e D=4 -e E=5)

@test "image hello_world prints its greeting without the kernel's log" {
    skip_unless_native_kvm
    image hello_world
    run_uhyve "${env[@]}" "$image"
    expect_status 0
    expect_stdout_line '^Hello, world!$'
    ! grep -F '[INFO]' stdout stderr
}

@test "image hello_world, built for one CPU, does not mind more" {
    skip_unless_native_kvm
    image hello_world
    run_uhyve "${env[@]}" -c 3 "$image"
    expect_status 0
    expect_stdout_line '^Hello, world!$'
}

@test "image hello_c sees its environment" {
    skip_unless_native_kvm
    image hello_c
    run_uhyve "${env[@]}" "$image"
    expect_status 0
    expect_stdout_line '^Hello World!!!$'
    expect_stdout_line '^environ\[[0-9]+\] = C=3$'
}

@test "image rusty_demo passes its own tests" {
    skip_unless_native_kvm
    image rusty_demo
    run_uhyve "${env[@]}" "$image"
    expect_status 0
}
