#!/usr/bin/env bats
# Limits of the host on a process (setrlimit): each is one message, or an error of the guest's.
# docs/limits.md says how much is needed.

load limits

# Everything that opens files, makes threads or loads libraries.
rich() {
    touch single
    rich=(-m 16M -c 3 --file-mapping out:/data --file-mapping single:/other/single --profile=out/profile
        --trace-file=out/trace --crash-dump=out/core)
    [[ -z ${net:-} ]] || rich+=(--net=user --net-dump=out/capture)
}

# Is the network in user mode there?
has_net() {
    "$UHYVE" --net=user "$(guest hello-v2)" >net 2>&1 && net=1 || net=
}

# Files that a failed start has left: none; or, where the sandbox was complete already, which keeps
# them from being removed, empty ones.
expect_no_content() {
    local file
    [[ -n $(ls out) ]] || return 0
    expect_stderr_line 'virtual CPU|thread|process could not'
    for file in out/*; do
        [[ $file == out/capture && $(stat -c %s "$file") == 24 ]] || [[ ! -s $file ]] || {
            echo "$file was left behind"
            return 1
        }
    done
}

@test "too few descriptors: one message each, until there are enough" {
    skip_if_sanitized
    has_net
    rich
    local n
    for options in "" "${rich[*]}"; do
        for ((n = 4; n < 40; n++)); do
            rm -rf out
            mkdir out
            # shellcheck disable=SC2086 # words
            run_alone prlimit --nofile=$n "$UHYVE" $options "$(guest hello-v2)"
            ((status != 0)) || break
            # With 3, or more if there are inherited ones, the program's loader gives up.
            ! grep -q '^[^ ]*: error while loading' stderr || continue
            expect_status 125
            expect_advice 'Too many open files.*ulimit -n'
            expect_no_content
        done
        expect_hello
        echo "descriptors: $n"
        ((n > 8))
    done
}

@test "too few descriptors for a debugger" {
    skip_if_sanitized
    local n
    for ((n = 12; n < 40; n++)); do
        : >stderr
        (timeout -s KILL "$UHYVE_TEST_LIMIT" setsid -w sh -c 'echo $$ >session; exec "$@"' - \
            prlimit --nofile=$n "$UHYVE" -c 2 --gdb-port="$WORK/gdb" "$(guest hello-v2)" \
            >stdout 2>stderr 3>&- || echo $? >result) &
        for _ in $(seq 1000); do
            [[ ! -e result && ! -s stderr ]] || break
            sleep 0.01
        done
        ! grep -q Waiting stderr || break
        wait
        [[ $(<result) == 125 ]]
        expect_advice 'Too many open files.*ulimit -n'
        rm result
    done
    ((n < 40))
    kill "$(<session)"
    wait
    [[ $(<result) == 143 ]]
    expect_nothing_left
}

@test "a soft limit on descriptors is raised" {
    skip_if_sanitized
    run_alone prlimit --nofile=12:1024 "$UHYVE" --file-mapping out:/d "$(guest files-v2)" -- -- \
        "again 40" "open /d/new wc 600"
    expect_status 0
    expect_stdout_line '^open /d/new wc 600 = 42$'
}

@test "no descriptor for the guest's files is the guest's error" {
    skip_if_sanitized
    local n before=
    for ((n = 12; n < 30; n++)); do
        run_alone prlimit --nofile=$n "$UHYVE" --file-mapping out:/d "$(guest files-v2)" -- -- \
            "again 20" "open /d/new wc 600" "write 1 text"
        ((status != 0)) || break
    done
    expect_status 0
    expect_stdout_line '^textwrite 1 text = 4$'
    expect_stdout_line '^open /d/new wc 600 = -24$'
    expect_no_stderr
}

# limited KIND KIB...: run the rich options with each limit; it works or is one message about memory.
limited() {
    local kind=$1 worked=0 failed=0
    shift
    has_net
    rich
    for value in "$@"; do
        rm -rf out
        mkdir out
        run_alone prlimit "--$kind=$((value << 10))" "$UHYVE" "${rich[@]}" "$(guest hello-v2)"
        if ((status == 0)); then
            expect_hello
            worked=$((worked + 1))
        else
            expect_status 125
            expect_advice '(Cannot allocate memory|Resource temporarily unavailable|cannot load a library|[Oo]ut of memory)'
            expect_stderr_line 'ulimit -(n, -v|u|v)|smaller -m'
            expect_no_content
            failed=$((failed + 1))
        fi
    done
    ((worked > 0 && failed > 2))
}

@test "too little address space is one message" {
    skip_if_sanitized
    limited as 6000 19500 21500 23500 28000 36000 64000 80000 1000000
}

@test "too little memory for data is one message" {
    skip_if_sanitized
    skip_if_counting
    limited data 250 16000 18000 28000 36000 45000 1000000
}

@test "a small stack is enough" {
    skip_if_sanitized
    for size in 131072 262144 1048576 unlimited; do
        run_alone prlimit --stack=$size:unlimited "$UHYVE" -c 2 --file-mapping out:/d --profile=out/profile \
            "$(guest hello-v2)"
        expect_hello
        rm out/profile
        # The deepest there is: the report of a crash, with symbols and an own core.
        run_alone prlimit --stack=$size:unlimited "$UHYVE" -c 2 --crash-dump=out/core "$(guest crash-v2)" -- -- ud2
        expect_status 134
        expect_stderr_line '^uhyve: error: the guest crashed: '
        [[ -s out/core ]]
        rm out/core
    done
}

@test "no memory is locked, and no core of uhyve's is needed" {
    for limit in memlock=0 core=0 core=unlimited msgqueue=0 nice=0 locks=0; do
        run_alone prlimit "--$limit" "$UHYVE" -c 2 "$(guest hello-v2)"
        expect_hello
    done
}

# Prepare for being another user, who has no other processes: sets $script and $as for `mounted`, and
# $place, where program, guests and a directory for temporary files are his.
become_somebody() {
    need_mounts
    script=: as=(setpriv --reuid 65531 --regid 65531 --clear-groups --inh-caps=-all)
    # /dev/kvm may be root's.
    # shellcheck disable=SC2016
    [[ $UHYVE_TEST_ACCEL != kvm ]] || script='mount -t tmpfs -o dev none . && cp -a /dev/kvm "$0/place/kvm" &&
        chmod 666 "$0/place/kvm" && mount --bind "$0/place/kvm" /dev/kvm'
    place=$(mktemp -d /tmp/uhyve-limits-XXXXXX)
    chmod 755 "$place"
    cp "$UHYVE" "$(guest hello-v2)" "$place"
    name=$(basename "$(guest hello-v2)")
    mkdir "$place/tmp"
    chown 65531 "$place/tmp"
    export TMPDIR=$place/tmp
}

# The limit counts all signals of the user.
@test "too few pending signals are one message, and never a guest that does not end" {
    skip_if_sanitized
    ((EUID == 0)) || skip "others' signals of this user count, too: needs root to become somebody else"
    become_somebody
    local n worked=
    # The guest's first CPU ends it while the others wait or compute: they have to be driven out.
    for ((n = 0; n < 8; n++)); do
        mounted "$script" "${as[@]}" prlimit --sigpending=$n "$place/uhyve" -c 3 "$place/$name"
        if [[ $UHYVE_TEST_ACCEL == kvm ]] || ((status == 0)); then
            expect_hello
            worked=1
        else
            expect_status 125
            expect_advice 'Resource temporarily unavailable.*ulimit -u, -i'
        fi
    done
    rm -rf "$place"
    [[ -n $worked ]]
}

@test "too few processes: one message each, until there are enough" {
    skip_if_sanitized
    ((EUID == 0)) || skip "others' processes of this user count, too: needs root to become somebody else"
    become_somebody
    for ((n = 1; n < 20; n++)); do
        mounted "$script" "${as[@]}" prlimit --nproc=$n "$place/uhyve" -c 3 "$place/$name"
        ((status != 0)) || break
        if ((status == 134)); then # KVM starts a thread with the first entry
            expect_stderr_line '^uhyve: error: the guest crashed: KVM cannot run the CPU: Resource temporarily unavailable \(.*ulimit -u'
            expect_no_stdout
        else
            expect_status 125
            expect_advice 'Resource temporarily unavailable.*ulimit -u'
        fi
    done
    rm -rf "$place"
    expect_hello
    echo "processes: $n"
    ((n > 3))
}

@test "a limit on the size of files that is too small for the guest's memory" {
    skip_if_sanitized
    for size in 0 1 4095 100000 16777215; do
        run_piped prlimit --fsize=$size "$UHYVE" -m 16M "$(guest hello-v2)"
        if [[ $UHYVE_TEST_ACCEL == kvm ]]; then # there it is no file
            expect_hello
        else
            expect_status 125
            expect_advice 'File too large.*ulimit -f'
        fi
    done
    run_piped prlimit --fsize=17825792 "$UHYVE" -m 16M "$(guest hello-v2)"
    expect_hello
}

# The limit for what follows: RAM that is a file must pass.
small=0
small_limit() {
    small=17825792
    [[ $UHYVE_TEST_ACCEL != kvm ]] || small=${1:-5}
}

@test "output beyond the limit on the size of files is lost, and told" {
    skip_if_sanitized
    small_limit
    truncate -s $((small - 2)) out/output
    status=0
    { prlimit --fsize=$small "$UHYVE" -m 16M "$(guest hello-v2)" 2>&1 >>out/output || echo $? >result; } | cat >stderr
    [[ $(<result) == 125 ]]
    [[ $(tail -c 2 out/output) == He ]]
    expect_stderr_line '^uhyve: error: output of the guest was lost: File too large \(.*ulimit -f\)'
    (($(grep -c error stderr) == 1))
}

@test "a profile, a trace or a capture beyond the limit is told and does not stop the guest" {
    skip_if_sanitized
    [[ $UHYVE_TEST_ACCEL == kvm ]] || skip "with 'direct' guest memory is a file, too: none of these gets as large"
    run_piped prlimit --fsize=5 "$UHYVE" --profile=out/profile --trace-file=out/trace "$(guest hello-v2)"
    expect_status 0
    expect_stdout 'Hello from a unikernel.'
    expect_stderr_line '^uhyve: warning: the profile is lost: File too large \(.*ulimit -f\)$'
    expect_stderr_line '^uhyve: warning: a part of the call trace is lost: File too large \(.*ulimit -f\)$'
    (($(wc -l <stderr) == 2))
    has_net
    [[ -n $net ]] || skip "no network in user mode here"
    rm -r out
    mkdir out
    run_piped prlimit --fsize=5 "$UHYVE" --net=user --net-dump=out/capture "$(guest hello-v2)"
    expect_status 125
    expect_advice "cannot create the capture 'out/capture': .*"
    expect_files ''
    # While it grows.
    run_piped prlimit --fsize=900 "$UHYVE" --net=user --net-dump=out/capture "$(guest net-dhcp-v2)"
    expect_status 0
    expect_stdout_line '^lease 86400 s$'
    expect_stderr_line '^uhyve: warning: the capture of the network ends here: File too large \(.*ulimit -f\)$'
    (($(wc -l <stderr) == 1))
    [[ $(stat -c %s out/capture) == 900 ]]
}

@test "a crash dump beyond the limit is told, and no half of it is left" {
    skip_if_sanitized
    small_limit 40960
    # With 'direct', a dump that is larger than memory: there is none, so no limit that would pass.
    [[ $UHYVE_TEST_ACCEL == kvm ]] || skip "with 'direct' guest memory is a file, too"
    run_piped prlimit --fsize=$small "$UHYVE" --crash-dump=out/core "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_stderr_line '^uhyve: warning: the crash dump could not be written: File too large \(.*ulimit -f\)$'
    (($(grep -c '^uhyve: ' stderr) == 2))
    [[ ! -s out/core ]]
}

@test "an image beyond the limit on the size of files is one message" {
    skip_if_sanitized
    tool=${TOOL:-$(dirname "$UHYVE")/uhyve-image}
    [[ -x $tool ]] || skip "there is no $tool"
    mkdir app
    cp "$(guest hello-v2)" app/kernel.elf
    printf 'version = "1"\nkernel = "/kernel.elf"\n[input]\nkernel_args = []\napp_args = []\nenv_vars = []\n' >app/hermit.toml
    for size in 0 1 1000; do
        for option in --zstd --force; do
            run_piped prlimit --fsize=$size "$tool" build app -o out/app.hermit $option
            expect_status 125
            expect_no_stdout
            expect_stderr_line "^uhyve-image: error: cannot write image 'out/app.hermit': File too large \\(.*ulimit -f\\)$"
            (($(wc -l <stderr) == 1))
            expect_files ''
        done
    done
}
