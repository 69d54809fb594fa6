#!/usr/bin/env bats
# Bare surroundings: no /proc, /sys, /dev, /tmp; file systems that cannot be written; kernels that are
# older, and containers that forbid system calls; a limit on the memory of a cgroup.

load limits

teardown() {
    [[ -z ${group:-} ]] || rmdir "$group" || true
}

@test "without /proc, /sys and /dev" {
    skip_if_sanitized # they need /proc
    need_mounts
    mkdir empty data
    local directory
    for directory in /proc /sys /dev; do
        [[ $directory != /dev || $UHYVE_TEST_ACCEL != kvm ]] || continue
        # shellcheck disable=SC2016
        mounted "mount --bind \"\$0/empty\" $directory" "$UHYVE" -c 2 --stats --crash-dump=../out/core \
            --profile=../out/profile --file-mapping ../data:/d "$(guest files-v2)" -- -- "open /d/x wc 600" "open /x wc"
        expect_status 0
        expect_stdout_line '^open /x wc = 4$'
        expect_no_stderr
        [[ -s out/profile ]]
        rm -r out/* data/x
    done
    [[ $UHYVE_TEST_ACCEL == kvm ]] || return 0
    # shellcheck disable=SC2016
    mounted 'mount --bind "$0/empty" /dev' "$UHYVE" "$(guest hello-v2)"
    expect_status 125
    expect_advice 'cannot open /dev/kvm: No such file or directory'
}

@test "pipes and terminals without /proc" {
    skip_if_sanitized
    need_mounts
    mkdir empty
    head -c 300000 /dev/urandom >input
    # shellcheck disable=SC2016
    {
        "${unshare[@]}" sh -c 'mount --bind empty /proc && exec "$@"' - "$UHYVE" "$(guest cat-v2)" <input || echo $? >failed
    } | { sleep 0.2; cat; } >output
    [[ ! -e failed ]]
    cmp input output
    # Inherited descriptors cannot be listed without it.
    exec 7<input
    # shellcheck disable=SC2016
    mounted 'mount --bind "$0/empty" /proc' "$UHYVE" "$(guest hello-v2)"
    exec 7<&-
    expect_hello
}

@test "a place for temporary files that is missing or cannot be written" {
    local where
    ((EUID == 0)) || { mkdir -m 500 closed && where=$WORK/closed; }
    for where in /nonexistent "$WORK/helpers" /dev/null $where; do
        status=0
        TMPDIR=$where "$UHYVE" "$(guest hello-v2)" >stdout 2>stderr || status=$?
        expect_status 125
        expect_advice "cannot keep temporary files in '$where/uhyve-$EUID': .* \\(choose another place with --tempdir\\)"
        run_alone "$UHYVE" --tempdir="$where" "$(guest hello-v2)"
        expect_status 125
        expect_advice "cannot keep temporary files in '$where': .* \\(choose another place with --tempdir\\)"
        # The other place.
        TMPDIR=$where run_limited "$UHYVE" --tempdir="$WORK/tmp" "$(guest hello-v2)"
        expect_hello
    done
}

@test "everything read-only but the place for temporary files" {
    need_mounts
    skip_if_counting
    mkdir data
    echo content >data/file
    [[ $(df --output=target "$WORK" | tail -n 1) == / ]] || skip "the tests' directory is a file system of its own"
    # shellcheck disable=SC2016
    mounted 'mount -o remount,bind,ro / && mount -t tmpfs none "$0/place" && mkdir "$0/place/tmp"' \
        env TMPDIR="$WORK/place/tmp" "$UHYVE" --file-mapping ../data:/d "$(guest files-v2)" -- -- \
        "open /d/file r" "read last 10" "open /d/file w" "open /d/new wc 600" "unlink /d/file" "open /x wc 600"
    expect_status 0
    expect_stdout_line '^open /d/file w = -30$'
    expect_stdout_line '^open /d/new wc 600 = -30$'
    expect_stdout_line '^unlink /d/file = -30$'
    expect_stdout_line '^open /x wc 600 = 4$'
    expect_no_stderr
    # shellcheck disable=SC2016
    mounted 'mount -o remount,bind,ro /' "$UHYVE" "$(guest hello-v2)"
    expect_status 125
    expect_advice "cannot keep temporary files in .*: Read-only file system \\(choose another place with --tempdir\\)"
    for option in -oout --trace-file=out --profile=out --crash-dump=out; do
        # shellcheck disable=SC2016
        mounted 'mount -o remount,bind,ro / && mount -t tmpfs none "$0/tmp"' "$UHYVE" $option "$(guest hello-v2)"
        expect_status 125
        expect_advice "cannot create the .* file 'out': Read-only file system \\(check the path and its permissions\\)"
    done
}

@test "temporary files must not be programs: the engine needs none" {
    need_mounts
    # shellcheck disable=SC2016
    mounted 'mount -t tmpfs -o noexec,nosuid,nodev none .' env TMPDIR="$WORK/place" "$UHYVE" "$(guest hello-v2)"
    expect_hello
    [[ $UHYVE_TEST_ACCEL == direct ]] || return 0
    # ... unless memory files must not be either.
    # shellcheck disable=SC2016
    mounted 'mount -t tmpfs -o noexec none .' env TMPDIR="$WORK/place" \
        "$(helper without)" execveat=EACCES -- "$UHYVE" "$(guest hello-v2)"
    expect_status 125
    expect_advice "cannot start the program for the guest's process: Permission denied"
}

# works RULE...: all of it runs as ever without these calls.
works() {
    run_alone "$(helper without)" "$@" -- "$UHYVE" "${rich[@]}" "$(guest hello-v2)"
    expect_hello
    rm -rf out/*
}

# refused MESSAGE RULE...: without these calls there is one message, with ${options[@]}.
refused() {
    local message=$1
    shift
    run_alone "$(helper without)" "$@" -- "$UHYVE" "${options[@]}" "$(guest hello-v2)"
    expect_status 125
    expect_advice "$message"
}

@test "system calls of later kernels, or that containers forbid, are done without" {
    skip_if_sanitized
    touch single
    rich=(-c 2 --file-mapping out:/data --file-mapping single:/other/single --profile=out/profile
        --trace-file=out/trace --crash-dump=out/core)
    ! "$UHYVE" --net=user "$(guest hello-v2)" >net 2>&1 || rich+=(--net=user)
    for error in ENOSYS EPERM; do
        # Without clone3 the C library takes clone, but only if it does not exist.
        works openat2=$error pidfd_open=$error pidfd_send_signal=$error timerfd_create=$error userfaultfd=$error \
            statx=$error membarrier=$error io_uring_setup=$error faccessat2=$error clone3=ENOSYS \
            process_madvise=$error epoll_pwait2=$error futex_waitv=$error landlock_create_ruleset=$error
        works rseq=$error set_robust_list=$error sched_getaffinity=$error madvise=$error
    done
    # MFD_EXEC and MFD_NOEXEC_SEAL are of Linux 6.3.
    works memfd_create/1\&16=EINVAL
    works memfd_create/1\&8=EINVAL
}

@test "names are resolved without openat2 as with it" {
    mkdir data
    echo secret >outside
    ln -s ../outside data/link
    ln -s file data/inside
    echo text >data/file
    for rule in openat2 openat2=EPERM; do
        run_alone "$(helper without)" $rule -- "$UHYVE" --file-mapping data:/d "$(guest files-v2)" -- -- \
            "open /d/link r" "open /d/inside r" "read last 10" "open /d/../outside r" "mkdir /d/sub" "open /d/sub/x wc 600"
        expect_status 0
        expect_stdout_line '^open /d/link r = -13$'
        expect_stdout_line '^open /d/inside r = 3$'
        expect_stdout_line '^read last 10 = 5 text'
        expect_stdout_line '^open /d/sub/x wc 600 = 4$'
        rm -r data/sub
    done
}

@test "system calls that are needed are named with what to do" {
    skip_if_sanitized
    touch single
    for error in ENOSYS EPERM; do
        options=()
        refused 'seccomp profile allow|--no-seccomp does without' seccomp=$error
        refused 'restrict access to files with Landlock: .*--file-isolation=none does without' landlock_restrict_self=$error
        refused 'cannot drop capabilities: .*--file-isolation=none does without' capset=$error
        refused 'cannot create an event: .*seccomp profile' eventfd2=$error
        refused 'cannot choose a name for temporary files: getrandom: .*seccomp profile' getrandom=$error
        if [[ $UHYVE_TEST_ACCEL == kvm ]] && "$UHYVE" -vv "$(guest hello-v2)" 2>&1 | grep -q 'version .* of Landlock'; then
            options=(--file-mapping single:/other/single)
            refused 'cannot start the process that opens single .*seccomp profile' close_range=$error
        fi
        [[ $UHYVE_TEST_ACCEL == direct ]] || continue
        refused 'cannot share memory with guests here: memfd_create: ' memfd_create=$error
        refused "cannot create a pipe for the guest's process: " pipe2=$error
        refused "cannot start the program for the guest's process: " execveat=$error
        refused "the guest's process could not close descriptors: .*(5\\.13|seccomp profile)" close_range=$error
        refused "the guest's process could not set up a thread: " timer_create=$error
    done
    # What the messages advise.
    run_alone "$(helper without)" landlock_restrict_self=EPERM -- "$UHYVE" --file-isolation=none "$(guest hello-v2)"
    expect_hello
    [[ $UHYVE_TEST_ACCEL == kvm ]] || return 0
    run_alone "$(helper without)" seccomp=EPERM capset=EPERM -- "$UHYVE" --file-isolation=none --no-seccomp \
        "$(guest hello-v2)"
    expect_hello
}

# A cgroup of our own with a limit on memory, in $group, or a reason to skip.
need_group() {
    local parent file
    parent=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
    file=memory.max
    if ! grep -qsw memory "$parent/cgroup.subtree_control"; then
        parent=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
        file=memory.limit_in_bytes
    fi
    group=$parent/uhyve-test-$$-$BATS_TEST_NUMBER
    mkdir "$group" 2>/dev/null || { group= && skip "no cgroup can be made here"; }
    [[ -e $group/$file ]] || skip "cgroups have no control over memory here"
    echo $((48 << 20)) >"$group/$file" || skip "the limit of a cgroup cannot be set here"
    [[ ! -e $group/memory.swap.max ]] || echo 0 >"$group/memory.swap.max"
    [[ ! -e $group/memory.memsw.limit_in_bytes ]] || echo $((48 << 20)) >"$group/memory.memsw.limit_in_bytes" || true
}

@test "a guest that touches more memory than its cgroup may have is killed, and nothing is left" {
    skip_if_sanitized
    need_group
    # shellcheck disable=SC2016
    inside=(sh -c 'echo 0 >"$0/cgroup.procs" || exit 99; "$@"' "$group" "$UHYVE")
    run_alone "${inside[@]}" -m 32M "$(guest touch-v2)"
    expect_status 0
    expect_stdout_line '^touched '
    status=0
    # shellcheck disable=SC2016
    setsid -w sh -c 'echo $$ >"$0"; exec "$@" 3>&-' "$WORK/session" "${inside[@]}" -m 256M -c 2 "$(guest touch-v2)" \
        >stdout 2>stderr || status=$?
    cat stdout stderr
    # The kernel kills one of the processes: the program, or the guest's, which the program reports.
    ((status == 137 || status == 134))
    ((status != 134)) || expect_stderr_line "^uhyve: error: the guest crashed: the guest's process was ended by signal 9 .*want of memory"
    ! grep touched stdout || return 1
    # The next start removes what the dead could not.
    run_alone "$UHYVE" "$(guest hello-v2)"
    expect_hello
}
