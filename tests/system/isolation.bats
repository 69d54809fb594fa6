#!/usr/bin/env bats
# What uhyve gives up before a guest starts.

load helpers

setup() {
    common_setup
    skip_unless_kvm
}

# A test that failed half-way leaves no guest behind.
teardown() {
    [[ -z ${vmm:-} ]] || stop
    [[ -z ${place:-} ]] || rm -rf "$place"
}

# Builds with sanitizers have no filter, nor have those for the coverage report.
skip_if_sanitized() {
    ! grep -qaE '__(a|t)san_init|__gcov_init' "$UHYVE" ||
        skip "no filter in a build with sanitizers or for coverage"
}

# start GUEST OPTION...: run it in the background until it prints; sets $vmm.
start() {
    local name=$1
    shift
    : >stdout
    "$UHYVE" "$@" "$(guest "$name")" >stdout 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 500); do
        [[ -s stdout ]] && return
        sleep 0.02
    done
    echo "$name did not start"
    return 1
}

# End it.
stop() {
    kill -KILL "$vmm" 2>/dev/null || true
    wait "$vmm" 2>/dev/null || true
    vmm=
}

# values KEY: what the threads of $vmm have for a key of /proc/PID/status, each value once.
values() {
    sed -n "s/^$1:[ \t]*//p" /proc/"$vmm"/task/*/status | tr '\t' ' ' | sort -u
}

@test "no thread of the VMM has capabilities, new privileges, or calls to spare" {
    skip_if_sanitized
    start spin-forever-v2 -c 3
    (($(ls "/proc/$vmm/task" | wc -l) >= 3))
    [[ $(values CapEff) =~ ^0+$ ]]
    [[ $(values CapPrm) =~ ^0+$ ]]
    [[ $(values NoNewPrivs) == 1 ]]
    [[ $(values Seccomp) == 2 ]]
    for child in $(pgrep -P "$vmm"); do # the engine of the accelerator 'direct'
        ! grep -E '^Cap(Prm|Eff):.*[1-9a-f]' "/proc/$child/status" || return 1
    done
}

@test "neither have those of the network, the profiler and the debugger" {
    local net=()
    skip_if_sanitized
    "$UHYVE" --net=user "$(guest hello-v2)" >user 2>&1 && net=(--net=user)
    start spin-forever-v2 -c 2 "${net[@]}" --profile=profile --trace-file trace
    (($(ls "/proc/$vmm/task" | wc -l) >= 3 + ${#net[@]}))
    [[ $(values Seccomp) == 2 && $(values CapEff) =~ ^0+$ ]]
    stop
    "$UHYVE" -c 2 --gdb-port="$WORK/gdb" "$(guest hello-v2)" >stdout 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 500); do
        [[ ! -S gdb ]] || (($(ls "/proc/$vmm/task" | wc -l) < 3)) || break
        sleep 0.02
    done
    [[ $(values Seccomp) == 2 && $(values CapEff) =~ ^0+$ ]]
}

@test "each layer can be left out" {
    skip_if_sanitized
    start spin-forever-v2 --no-seccomp
    [[ $(values Seccomp) == 0 ]]
    [[ $(values NoNewPrivs) == 1 ]]
    stop
    start spin-forever-v2 --file-isolation=none
    [[ $(values Seccomp) == 2 ]]
    stop
    start spin-forever-v2 --file-isolation=none --no-seccomp
    [[ $(values NoNewPrivs) == 0 ]]
    [[ $(values CapEff) == $(sed -n 's/^CapEff:[ \t]*//p' /proc/self/status) ]]
}

@test "a system call out of place ends the program and is named" {
    skip_if_sanitized
    violate=$(dirname "$UHYVE")/../tests/system/violate.so
    # socket, execve, and one that no kernel has
    for call in 41:socket,\ number\ 41 59:execve,\ number\ 59 4095:number\ 4095; do
        VIOLATE=${call%%:*} LD_PRELOAD=$violate run_uhyve "$(guest hello-v2)"
        expect_status 125
        expect_no_stdout
        expect_one_error "no use for while a guest runs \\(${call#*:}\\)"
    done
    # A stray return value, and nothing else, without the filter.
    VIOLATE=41 LD_PRELOAD=$violate run_uhyve --no-seccomp "$(guest hello-v2)"
    expect_status 0
}

@test "descriptors that the program inherited are closed" {
    exec 7</dev/null 9<"$BATS_TEST_FILENAME"
    start spin-forever-v2
    exec 7<&- 9<&-
    run ls -l "/proc/$vmm/fd"
    ! grep -F isolation.bats <<<"$output" || return 1
    ((EUID != 0)) || grep -F "$(guest spin-forever-v2)" <<<"$output"
    # ... but can be the image.
    exec 7<"$(guest hello-v2)"
    run_uhyve /dev/fd/7
    exec 7<&-
    expect_status 0
    expect_stdout 'Hello from a unikernel.'
}

@test "root can run a guest as somebody else" {
    ((EUID == 0)) || skip "needs root"
    start spin-forever-v2 --user=65534:65533 -c 2
    [[ $(values Uid) == '65534 65534 65534 65534' ]]
    [[ $(values Gid) == '65533 65533 65533 65533' ]]
    [[ -z $(values Groups) ]]
    [[ $(values CapEff) =~ ^0+$ ]]
    for child in $(pgrep -P "$vmm"); do
        grep -E '^Uid:.65534.65534.65534.65534' "/proc/$child/status"
    done
    kill "$vmm"
    status=0
    wait "$vmm" || status=$?
    expect_status 143
}

@test "files of a guest that runs as somebody else are his" {
    ((EUID == 0)) || skip "needs root"
    place=$(mktemp -d)
    mkdir "$place/data"
    chmod 755 "$place"
    chown 65534:65533 "$place/data"
    export TMPDIR=$place
    chmod 777 "$place"
    run_uhyve --user=65534:65533 --file-mapping "$place/data:/data" "$(guest files-v2)" -- -- \
        "open /data/new wc 600" "mkdir /data/sub" "open /elsewhere wc 600" "write 4 x"
    expect_status 0
    expect_no_stderr
    expect_stdout_line '^open /elsewhere wc 600 = 4$'
    [[ $(stat -c '%u:%g' "$place/data/new" "$place/data/sub") == $'65534:65533\n65534:65533' ]]
    [[ $(stat -c '%u %a' "$place/uhyve-65534") == '65534 700' ]]
    [[ -z $(ls "$place/uhyve-65534") ]]
}

@test "root is told what it cannot reach without capabilities" {
    ((EUID == 0)) || skip "needs root"
    place=$(mktemp -d)
    mkdir "$place/theirs" "$place/closed" "$place/open"
    chmod 755 "$place/theirs"
    chmod 700 "$place/closed"
    chown 65534 "$place"/*
    options=(--file-mapping "$place/theirs:/a" --file-mapping "$place/closed:/b:ro")
    run_uhyve "${options[@]}" "$(guest hello-v2)"
    expect_status 0
    expect_stderr_line "^uhyve: warning: '.*/theirs' is mapped, but user 0 may not write to it"
    expect_stderr_line "^uhyve: warning: '.*/closed' is mapped, but user 0 may not read it"
    (($(wc -l <stderr) == 2))
    chmod 755 "$place"
    run_uhyve "${options[@]}" --user=65534:0 "$(guest hello-v2)"
    expect_no_stderr
    run_uhyve "${options[@]}" --file-isolation=none "$(guest hello-v2)"
    expect_no_stderr
}

@test "nobody else can" {
    ((EUID != 0)) || as=("${ordinary[@]}")
    cp "$UHYVE" ./program
    chmod 755 . program
    export TSAN_OPTIONS=exitcode=86
    run_limited "${as[@]}" ./program --user=nobody no-image
    expect_status 2
    expect_one_error '--user: only root can run a guest as another user'
}

# How to start a program as somebody who is not root.
ordinary=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all)

helper() {
    echo "$(dirname "$UHYVE")/../tests/system/$1"
}

# compromised MODE [NETWORK]: an attacker on the threads of the VMM makes his attempts
# (compromised.c); started as `as` says. The directories above $WORK are only for whoever runs the tests.
compromised() {
    local name
    place=$(mktemp -d)
    for name in mapped/file readonly/file readonly/file.spare single/file single/neighbour \
        single/neighbour.spare outside/file; do
        mkdir -p "$place/${name%/*}"
        echo content >"$place/$name"
    done
    ln -s ../outside/file "$place/mapped/file.link"
    cp "$(helper compromised)" "$(guest knock-v2)" "$place"
    [[ ${as[0]:-} != setpriv ]] || chown -R 65534 "$place"
    chmod 755 "$place"
    run_limited "${as[@]}" "$place/compromised" "$1" "${UHYVE_TEST_ACCEL:-direct}" \
        "$place/$(basename "$(guest knock-v2)")" "$place" ${2:+"$2"}
    expect_status 0
    (($(grep -c '^ok .*(CPU 0)' stdout) == $(grep -c '^ok .*(CPU 1)' stdout)))
    [[ -z ${2:-} ]] || (($(grep -c '^ok .*(network)' stdout) >= $(grep -c '^ok .*(CPU 0)' stdout)))
    if [[ $1 == all || $1 == strict ]]; then
        (cd "$place" && find . -type f -name '*file*' -o -name '*neighbour*' -o -name new | sort) >found
        [[ $(tr '\n' ' ' <found) == "./mapped/file ./outside/file ./readonly/file ./readonly/file.spare \
./single/file ./single/neighbour ./single/neighbour.spare " ]]
        ! grep -rLx content "$place"/{mapped,outside,readonly,single} | grep . || return 1
    fi
    rm -rf "$place"
}

as=()

skip_unless_strict() {
    "$UHYVE" --file-isolation=strict "$(guest hello-v2)" >strict 2>&1 ||
        skip "$(sed -n 's/.*\(strict needs [^(]*\).*/\1/p' strict)"
}

@test "links lead out of a mapped directory only without isolation" {
    mkdir mapped
    echo secret >outside
    ln -s ../outside mapped/link
    for generation in v1 v2; do
        run_uhyve --file-mapping mapped:/data "$(guest files-$generation)" -- -- "open /data/link r"
        expect_stdout 'open /data/link r = -13'
        run_uhyve --file-mapping mapped:/data --file-isolation=None "$(guest files-$generation)" -- -- \
            "open /data/link r" "read 3 10"
        expect_stdout_line '^read 3 10 = 7 secret'
    done
}

@test "a VMM that was taken over gets nowhere" {
    skip_if_sanitized
    compromised all
}

@test "the same if isolation is to be strict" {
    skip_if_sanitized
    skip_unless_strict
    compromised strict
}

@test "each layer alone holds what it should, and nothing else would" {
    skip_if_sanitized
    for mode in filter landlock none; do
        compromised $mode
    done
}

@test "the thread of a network may do nothing but its own, and no other thread that" {
    local networks=(socket) net mode
    skip_if_sanitized
    "$UHYVE" --net=user "$(guest hello-v2)" >user 2>&1 && networks+=(user)
    for net in "${networks[@]}"; do
        for mode in all filter landlock none; do
            compromised $mode "$net"
        done
    done
    [[ $net == user ]] || skip "only the socket was tried: $(tail -n 1 user)"
}

@test "the same as an ordinary user" {
    skip_if_sanitized
    ((EUID == 0)) || skip "not root already"
    [[ ${UHYVE_TEST_ACCEL:-} != kvm ]] || "${ordinary[@]}" test -w /dev/kvm || skip "/dev/kvm is root's"
    as=("${ordinary[@]}")
    for mode in all landlock filter none; do
        compromised $mode
    done
}

@test "the same in a user namespace" {
    skip_if_sanitized
    as=(unshare --user --map-root-user)
    "${as[@]}" true || skip "no user namespaces here"
    [[ ${UHYVE_TEST_ACCEL:-} != kvm ]] || "${as[@]}" test -w /dev/kvm || skip "/dev/kvm is root's"
    for mode in all landlock filter; do
        compromised $mode
    done
}

@test "without Landlock: one warning, or no run if it is to be strict" {
    KEEP_WARNING=1
    run_limited "$(helper without)" landlock_create_ruleset -- "$UHYVE" "$(guest hello-v2)"
    expect_status 0
    expect_stdout 'Hello from a unikernel.'
    expect_stderr_line '^uhyve: warning: this kernel has no Landlock: .*--file-isolation=none accepts'
    (($(wc -l <stderr) == 1))
    run_limited "$(helper without)" landlock_create_ruleset -- "$UHYVE" --file-isolation=none "$(guest hello-v2)"
    expect_status 0
    expect_no_stderr
    run_limited "$(helper without)" landlock_create_ruleset -- "$UHYVE" --file-isolation=strict "$(guest hello-v2)"
    expect_status 125
    expect_one_error 'file-isolation=strict needs Landlock as of Linux 6.2, and this kernel has none'
}
