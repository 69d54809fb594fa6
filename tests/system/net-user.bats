#!/usr/bin/env bats
# The network card without privileges: user-mode networks and sockets. The host's side is a network
# namespace of the test's own, where all ports are free.

load helpers

PEER=$(dirname "$GUESTS")/tests/net/net-peer
STREAM=$(dirname "$GUESTS")/tests/net/net-stream

setup() {
    common_setup
    skip_unless_kvm
    skip_if_nested "the emulated machine has no network tools"
}

# user_session COMMAND... -- UHYVE ARGUMENT...: like tap-session, without a tap interface. The peer
# talks to ports of the host.
user_session() {
    run_limited "$top/tests/net/tap-session" -n -a 127.0.0.1 "$PEER" "$@"
    ((status != 77)) || skip "$(head -n 1 "$WORK/stdout")"
}

# All services of the guest.
published=(-p 5:5/udp -p 6:6/udp -p 7:7/udp -p 7:7 -p 9:9 -p 19:19 -p 80:80)

@test "published ports lead to the guest, without an option for the network" {
    # Checksums take a processor that is emulated too long for more.
    local bulk=()
    [[ $UHYVE_TEST_ACCEL == kvm ]] && ! kvm_is_native || bulk=("discard 2" "endless 2")
    user_session wait "udp-echo 20 1000" "http 50" "http 200/50" "tcp-echo 200000" "${bulk[@]}" \
        "end 4" -- "$UHYVE" "${published[@]}" "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 4
    expect_stdout_line '^ready '
    expect_no_stderr
}

@test "forwarded ports of --net user, and a driver that starts again" {
    user_session wait "tcp-echo 20000" restart wait "tcp-echo 20000" "end 0" -- \
        "$UHYVE" --net user,hostfwd=tcp:127.0.0.1:7-:7,hostfwd=udp::7-10.0.5.3:7,hostfwd=udp::6-:6,hostfwd=udp::5-:5 \
        "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 0
    (($(grep -c '^ready' "$WORK/stdout") == 2))
}

@test "IPv6: the guest finds its network, and ports are forwarded" {
    local forwards= port
    for port in tcp:7 tcp:9 tcp:19 tcp:80 udp:5 udp:6 udp:7; do
        forwards+=",hostfwd=${port%:*}:[::1]:${port#*:}-[fd00:a:5::3]:${port#*:}"
    done
    run_limited "$top/tests/net/tap-session" -n -a ::1 "$PEER" wait "udp-echo 20 1000" "http 50" \
        "http 100/50" "http-end 20" "tcp-echo 100000" restart wait "tcp-echo 20000" "end 4" -- \
        "$UHYVE" --net "user$forwards" "$(guest net-server-v2)" -- -- 10.0.5.3 level all ipv6
    ((status != 77)) || skip "$(head -n 1 "$WORK/stdout")"
    expect_status 4
    expect_no_stderr
    expect_stdout_line '^ipv6 fd00:000a:0005:0000::3$'
    expect_stdout_line '^interrupts .* bad 0 lost 0$'
}

@test "thousands of connections, closed by either side, or kept" {
    local count=${UHYVE_TEST_REQUESTS:-1000}
    [[ $UHYVE_TEST_ACCEL != kvm ]] || kvm_is_native || count=$((count / 10))
    user_session wait "http $count" "http-end $count" "http $count/100" "end 4" -- \
        "$UHYVE" "${published[@]}" "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 4
    expect_no_stderr
    expect_stdout_line "^interrupts .* connections $((2 * count + count / 100)) bad 0 lost 0$"
}

@test "connections that are over leave no descriptors behind" {
    # shellcheck disable=SC2016
    user_session wait -- bash -c '
        peer="$1 127.0.0.1" uhyve=$2
        ulimit -n 200
        shift 2
        "$uhyve" "$@" & vmm=$!
        $peer wait
        before=$(ls /proc/$vmm/fd | wc -l)
        for i in 1 2 3 4; do
            $peer http 100 && $peer http-end 50 || exit 99
        done
        after=$(ls /proc/$vmm/fd | wc -l)
        echo "descriptors: $before before, $after after"
        ((after < before + 10)) || exit 98
        $peer end 4
        wait $vmm' - "$PEER" "$UHYVE" "${published[@]}" "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 4
    expect_no_stderr
}

@test "more connections than there can be descriptors wait" {
    # shellcheck disable=SC2016
    user_session -- bash -c '
        peer="$1 127.0.0.1" uhyve=$2
        shift 2
        (ulimit -n 70; exec "$uhyve" "$@") & vmm=$!
        $peer wait
        $peer hold 60 & hold=$!
        sleep 0.5
        cat /proc/$vmm/stat >before
        sleep 1
        cat /proc/$vmm/stat >after
        wait $hold && $peer http 10 && $peer end 4 || kill $vmm
        wait $vmm' - "$PEER" "$UHYVE" "${published[@]}" "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 4
    expect_no_stderr
    # Hundredths of a second, of the network's thread and the guest.
    ticks=$(cat before after | awk '{ sum = $14 + $15 - sum } END { print sum }')
    [[ $UHYVE_TEST_ACCEL == kvm ]] || ((ticks < 10))
}

@test "what the host reads late is not lost when the connection is over" {
    unshare -rn sh -c 'echo 4096 >/proc/sys/net/ipv4/tcp_wmem' 2>/dev/null || skip "no buffer sizes can be set here"
    # Sockets take so little that libslirp has to keep the rest.
    # shellcheck disable=SC2016
    user_session wait "tcp-late 50000" "tcp-late 1000" "end 4" -- bash -c '
        echo 4096 4096 4096 >/proc/sys/net/ipv4/tcp_wmem
        exec "$@"' - "$UHYVE" "${published[@]}" "$(guest net-server-v2)" -- -- 10.0.5.3
    expect_status 4
}

@test "under --file-isolation strict and none" {
    for isolation in strict none; do
        [[ $isolation == none ]] || can_isolate || continue
        user_session wait "http 20" "end 0" -- \
            "$UHYVE" --file-isolation "$isolation" "${published[@]}" "$(guest net-server-v2)"
        expect_status 0
    done
}

# Whether the kernel has what 'strict' needs.
can_isolate() {
    "$UHYVE" --file-isolation strict "$(guest hello-v2)" >/dev/null 2>&1
}

@test "the guest gets its address, router and name server by DHCP" {
    run_uhyve --net user "$(guest net-dhcp-v2)"
    expect_status 0
    expect_no_stderr
    [[ $stdout == "address 10.0.5.3
mask 255.255.255.0
router 10.0.5.1
names 10.0.5.2
server 10.0.5.1
lease "*" s" ]]
}

@test "names are resolved by the host's resolver, wherever it is" {
    unshare -m true 2>/dev/null || skip "no mount namespace can be made here"
    echo "nameserver 127.0.0.1" >resolv.conf
    # shellcheck disable=SC2016
    user_session -- unshare -m bash -c '
        mount --bind resolv.conf /etc/resolv.conf || exit 77
        "$1" 127.0.0.1 names 192.0.2.7 >names & names=$!
        until grep -q ready names; do sleep 0.02; done
        "$2" --net user "$3" -- -- www.example.org
        status=$?
        kill $names
        exit $status' - "$PEER" "$UHYVE" "$(guest net-dhcp-v2)"
    expect_status 0
    expect_stdout_line '^www\.example\.org 192\.0\.2\.7$'
}

@test "a port in use is named" {
    user_session -- bash -c '
        "$1" -p 80:80 "$2" & first=$!
        until grep -q "^ready" stdout; do sleep 0.05; done
        "$1" -p 80:80 "$2"
        status=$?
        kill $first
        exit $status' - "$UHYVE" "$(guest net-server-v2)"
    expect_status 125
    expect_stderr_line '^uhyve: error: cannot forward TCP port 80 to the guest: Address already in use'
}

@test "captures hold the frames, and do not overwrite" {
    user_session wait "udp-echo 5 100" "end 0" -- \
        "$UHYVE" --net-dump frames.pcap "${published[@]}" "$(guest net-server-v2)"
    expect_status 0
    [[ $(od -An -tx4 -N4 frames.pcap) == *a1b23c4d ]]
    (($(stat -c %s frames.pcap) > 1000))
    cp frames.pcap before
    run_uhyve --net user --net-dump frames.pcap "$(guest net-server-v2)"
    expect_status 125
    expect_one_error "cannot create the capture 'frames.pcap': File exists"
    cmp frames.pcap before
}

@test "a socket that nobody listens at" {
    run_uhyve --net socket:nobody "$(guest net-server-v2)"
    expect_status 125
    expect_one_error "cannot connect to socket 'nobody': .*start the other side first"
}

# peer COUNT [DIGIT]: be the other side of the socket for a while, in the background.
peer() {
    rm -f listening
    "$STREAM" socket "$@" >listening 3>&- &
    other=$!
    until grep -qs listening listening; do
        sleep 0.02
    done
}

@test "a socket whose other side goes away and returns" {
    local mode
    for mode in --file-isolation=normal --file-isolation=none --no-seccomp; do
        peer 20
        timeout -s KILL "$UHYVE_TEST_LIMIT" "$UHYVE" "$mode" --net socket:socket \
            "$(guest net-server-v2)" >stdout 2>warnings 3>&- &
        vmm=$!
        wait "$other"
        until grep -q interrupted warnings; do
            sleep 0.02
        done
        for round in 1 2; do
            sleep 0.2 # some attempts find nobody
            peer 20
            wait "$other"
        done
        peer 20 4
        wait "$other"
        status=0
        wait "$vmm" || status=$?
        sed -i '/this kernel has no Landlock/d' warnings
        cat warnings
        expect_status 4
        # The last end may be seen, too.
        interrupted=$(grep -c "warning: the guest's network is interrupted: socket 'socket': " warnings)
        ((interrupted == 3 || interrupted == 4))
        (($(grep -c "warning: the guest's network is back: socket 'socket'" warnings) == 3))
        (($(wc -l <warnings) == interrupted + 3))
    done
}

@test "a scan of PCI configuration space finds one card, and asks uhyve for nothing else" {
    for generation in v1 v2; do
        run_uhyve --stats "$(guest pci-scan-$generation)" -- -- none
        expect_status 0
    done
    peer 0
    run_uhyve -c 2 --net socket:socket "$(guest pci-scan-v2)"
    expect_status 0
    peer 0
    run_uhyve --stats --net socket:socket "$(guest pci-scan-v2)"
    expect_status 0
    expect_stdout_line '^1\.\.26$'
    # The card is asked for some forty times, other places more than two thousand times.
    reads=$(sed -n 's/^ *PCIRead: *\([0-9]*\).*/\1/p' stdout)
    writes=$(sed -n 's/^ *PCIWrite: *\([0-9]*\).*/\1/p' stdout)
    [[ $UHYVE_TEST_ACCEL == kvm ]] || ((reads > 0 && writes > 0 && reads + writes < 60))
    [[ $UHYVE_TEST_ACCEL != kvm ]] || ((reads > 2048))
}

@test "while nobody listens, attempts to connect cost next to nothing" {
    peer 1
    "$UHYVE" --net socket:socket "$(guest net-server-v2)" >stdout 2>warnings 3>&- &
    vmm=$!
    wait "$other"
    until grep -q interrupted warnings; do
        sleep 0.02
    done
    read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ <"/proc/$vmm/stat"
    sleep 1
    read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user_after system_after _ <"/proc/$vmm/stat"
    kill "$vmm"
    wait "$vmm" || true
    # Hundredths of a second.
    ((user_after + system_after - user - system < 20))
}

@test "a guest without traffic ends at once when it is stopped" {
    run_limited timeout -s TERM 1 "$UHYVE" --net user "$(guest net-server-v2)"
    expect_status 124
    expect_stdout_line '^ready '
}
