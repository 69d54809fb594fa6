#!/usr/bin/env bats
# The network card on a tap interface, in a network namespace of the test's own.

load helpers

PEER=$(dirname "$GUESTS")/tests/net/net-peer

setup() {
    common_setup
    skip_unless_kvm
    skip_if_nested "the emulated machine has no network tools"
}

# tap_session [OPTION...] COMMAND... -- UHYVE ARGUMENT...: see tests/net/tap-session. $status,
# $stdout and $stderr are those of the guest and the peer together.
tap_session() {
    local options=()
    while [[ $1 == -[amn] ]]; do
        options+=("$1")
        if [[ $1 != -n ]]; then
            options+=("$2")
            shift
        fi
        shift
    done
    run_limited "$top/tests/net/tap-session" "${options[@]}" "$PEER" "$@"
    ((status != 77)) || skip "$(head -n 1 "$WORK/stdout")"
}

# talk GUEST INTERRUPTS FEATURES COMMAND...: have a conversation with a guest, which ends with 4.
talk() {
    local guest interrupts=$2 features=$3
    guest=$(guest "$1")
    shift 3
    tap_session wait "$@" "end 4" -- "$UHYVE" --net tap "$guest" -- -- 10.0.5.3 "$interrupts" \
        "$features"
    expect_status 4
    expect_stdout_line '^ready '
    expect_stdout_line '^interrupts .* bad 0 lost 0$'
}

@test "frames of all sizes go there and back" {
    talk net-server-v2 level all "udp-echo 20 1" "udp-echo 20 1000" "udp-echo 20 1472"
    talk net-server-legacy level all "udp-echo 20 100"
}

@test "connections: requests, bulk in both directions" {
    talk net-server-v2 level all "http 50" "http 200/50" "tcp-echo 200000" "discard 2" "endless 2"
}

@test "without offloads" {
    talk net-server-v2 level none "http 20" "tcp-echo 100000" "discard 1" "endless 1"
    expect_stdout_line '^ready .* features 100000020$'
}

@test "interrupts: level, edge, none" {
    talk net-server-v2 level all "latency 100"
    [[ ! $stdout =~ 'interrupts 0 ' ]]
    talk net-server-v2 edge all "latency 100"
    [[ ! $stdout =~ 'interrupts 0 ' ]]
    talk net-server-v2 poll all "latency 100"
    expect_stdout_line '^interrupts 0 '
}

@test "the driver resets the card and starts it again" {
    talk net-server-v2 level all "tcp-echo 10000" restart restart restart "tcp-echo 10000"
    (($(grep -c '^ready' "$WORK/stdout") == 4))
}

@test "more frames than the guest takes" {
    talk net-server-v2 level all "flood 5000" wait "udp-echo 10 100"
    talk net-server-v2 level none "flood 5000" wait "udp-echo 10 100"
}

@test "the MTU and the address are those asked for" {
    tap_session -m 9000 wait "tcp-echo 100000" "end 0" -- \
        "$UHYVE" --net tap:tap10,mac=02:00:5e:00:53:17 "$(guest net-server-v2)"
    expect_status 0
    expect_stdout_line '^ready 02:00:5e:00:53:17 mtu 9000 '
    tap_session wait "end 0" -- "$UHYVE" --net tap,mac=tap "$(guest net-server-v2)"
    expect_status 0
    expect_stdout_line '^ready 02:00:00:00:00:aa mtu 1500 '
}

@test "the address uhyve chooses stays the same" {
    tap_session wait "end 0" -- "$UHYVE" --net tap "$(guest net-server-v2)"
    local first
    first=$(grep ^ready "$WORK/stdout")
    [[ $first =~ ^'ready '.[26ae] ]]
    tap_session wait "end 0" -- "$UHYVE" --net tap "$(guest net-server-v2)"
    [[ $(grep ^ready "$WORK/stdout") == "$first" ]]
}

@test "a guest that is stopped while frames come" {
    tap_session wait "flood 1000" -- timeout -s TERM 1 "$UHYVE" --net tap "$(guest net-server-v2)"
    # timeout says 124 where uhyve ended by the signal it was sent.
    expect_status 124
}

@test "statistics count what went through the card" {
    tap_session wait "udp-echo 10 100" "end 0" -- "$UHYVE" --stats --net tap "$(guest net-server-v2)"
    expect_status 0
    expect_stdout_line '^  received: [0-9]{2,} frames, [0-9.]+ KiB$'
    expect_stdout_line '^  sent: [0-9]{2,} frames, [0-9.]+ KiB$'
    tap_session wait "end 0" -- "$UHYVE" --stats=json --net tap "$(guest net-server-v2)"
    expect_stdout_line '"net":\{"received_frames":[1-9]'
}

@test "the trace shows the queues" {
    tap_session wait "udp-echo 1 100" "end 0" -- \
        "$UHYVE" --trace=net --net tap "$(guest net-server-v2)"
    expect_status 0
    expect_stderr_line '^ +[0-9.]+ net   driver ready, features 0x[0-9a-f]+$'
    expect_stderr_line 'net   doorbell of queue 1$'
    expect_stderr_line 'net   received 142 bytes in 1 buffer$'
    expect_stderr_line 'net   sent 142 bytes$'
    ! grep -q cpu0 "$WORK/stderr" || return 1
    tap_session wait "end 0" -- "$UHYVE" --trace=process --net tap "$(guest net-server-v2)"
    ! grep -q 'net  ' "$WORK/stderr" || return 1
}

@test "a driver that means harm" {
    local seconds=${UHYVE_TEST_HOSTILE_SECONDS:-1}
    # Broadcasts need no answer to a question for the guest's address.
    UHYVE_TEST_LIMIT=$((UHYVE_TEST_LIMIT + seconds)) tap_session -a 10.0.5.255 \
        "trickle $((seconds + 6))" -- "$UHYVE" -c 2 --net tap "$(guest net-hostile-v2)" -- -- "$seconds"
    expect_status 0
    expect_stdout_line '^ok 24 - the card works after [0-9]+ attacks$'
    expect_stdout_line '^1..24$'
    (($(wc -l <"$WORK/stderr") <= 8))
}

@test "no tap interface: what to do about it" {
    tap_session -n -- "$UHYVE" --net tap:nosuch "$(guest net-server-v2)"
    expect_status 125
    expect_one_error "no tap device 'nosuch'.*ip tuntap add dev nosuch mode tap user"
}

@test "a tap interface can be used by one guest only" {
    tap_session -- sh -c '
        "$1" --net tap "$2" -- -- 10.0.5.3 &
        first=$!
        sleep 0.3
        "$1" --net tap "$2"
        status=$?
        kill $first
        exit $status' - "$UHYVE" "$(guest net-server-v2)"
    expect_status 125
    expect_stderr_line "^uhyve: error: cannot open tap device 'tap10': .*another program uses it"
}

@test "kernels whose driver is too old are refused" {
    run_uhyve --net tap:nosuch "$(guest hello-v1)"
    expect_status 126
    expect_one_error "v0.12.0 kernel.*requires kernel 0.13.2 or newer"
    # Kernels without a version, and those of interface 2, are not: the missing device is noticed.
    run_uhyve --net tap:nosuch "$(guest hello-legacy)"
    expect_status 125
    run_uhyve --net tap:nosuch "$(guest hello-v2)"
    expect_status 125
}

@test "there is no PCI bus without a network card" {
    run_uhyve "$(guest bootinfo-v2)"
    expect_stdout_line '^has_pci=0$'
    run_uhyve "$(guest net-server-v2)"
    expect_status 2
    expect_stdout "no network card"
}
