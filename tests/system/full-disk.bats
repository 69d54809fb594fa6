#!/usr/bin/env bats
# No room on the disk that something goes to: each is one message, or an error of the guest's. The
# disk is a tmpfs of 64 KiB in a mount namespace.

load limits

# on_disk CMD ARG...: run it with this directory full but for one page, or, with FULL set, completely.
# Afterwards "listing" shows size and name of each file that is not part of it.
on_disk() {
    # shellcheck disable=SC2016
    mounted 'mount -t tmpfs -o size=64k,nr_inodes=12 none . && cd "$0/place" &&
        head -c ${FULL:-61440} /dev/zero >fill' sh -c \
        'status=0; "$@" || status=$?; find . -mindepth 1 ! -name fill -printf "%s %P\n" >"$0"; exit $status' \
        "$WORK/listing" "$@"
}

expect_listing() {
    [[ $(sort listing) == "$1" ]] || {
        cat listing
        echo "expected on the disk: $1"
        return 1
    }
}

# Writes of the first interface have no result, so uhyve tells in the guest's place.
expect_lost_writes() {
    [[ $1 == v1 ]] || expect_no_stderr
    ! grep -v '^uhyve: warning: a write of the guest to its descriptor . is lost: No space left' stderr
}

setup_file() {
    export FULL=
}

@test "a mapped file and a temporary one: the guest gets what fits, then the error" {
    need_mounts
    for generation in v1 v2; do
        on_disk "$UHYVE" --file-mapping "$WORK/place:/d" "$(guest files-$generation)" -- -- \
            "open /d/x wc 600" "fill last 10000" "fstat last" "write last more" "unlink /d/fill" "write last more"
        expect_status 0
        expect_lost_writes $generation
        expect_stdout_line '^fstat last = .* size=4096 '
        [[ $generation == v1 ]] || expect_stdout_line '^fill last 10000 = 4096$'
        [[ $generation == v1 ]] || expect_stdout_line '^write last more = -28$'
        expect_stdout_line '^write last more = 4$'
        expect_listing '4100 x'
        on_disk env TMPDIR=. "$UHYVE" "$(guest files-$generation)" -- -- "open /x wc 600" "fill last 10000" \
            "write last more" "fstat last"
        expect_status 0
        expect_lost_writes $generation
        [[ $generation == v1 ]] || expect_stdout_line '^write last more = -28$'
        expect_stdout_line '^fstat last = .* size=4096 '
        expect_listing '40 uhyve-0'
    done
}

@test "no room for the temporary directory" {
    need_mounts
    # As many files as there may be, or all but one.
    for files in 12 9; do
        # shellcheck disable=SC2016
        mounted "mount -t tmpfs -o size=64k,nr_inodes=12 none . && cd \"\$0/place\"
            touch \$(seq $files) 2>\"\$0/full\" || true" env TMPDIR=. \
            "$UHYVE" "$(guest hello-v2)"
        if ((files == 12)); then
            expect_status 125
            expect_advice "cannot keep temporary files in '.*': No space left on device \\(make room"
        else
            expect_hello
        fi
    done
}

@test "an output file on a full disk is told, and the status says so" {
    need_mounts
    FULL=65536
    on_disk "$UHYVE" -o out "$(guest hello-v2)"
    expect_status 125
    expect_no_stdout
    expect_stderr_line '^uhyve: error: output of the guest was lost: No space left on device \(make room on that'
    (($(grep -c error stderr) == 1))
    expect_listing '0 out'
}

@test "a trace, a profile, a capture or a crash dump on a full disk" {
    need_mounts
    FULL=65536
    on_disk "$UHYVE" --trace-file=trace --profile=profile "$(guest hello-v2)"
    expect_status 0
    expect_stdout 'Hello from a unikernel.'
    expect_stderr_line '^uhyve: warning: a part of the call trace is lost: No space left on device \(make room'
    expect_stderr_line '^uhyve: warning: the profile is lost: No space left on device \(make room'
    (($(wc -l <stderr) == 2))
    expect_listing $'0 profile\n0 trace'
    on_disk "$UHYVE" --crash-dump=core "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_stderr_line '^uhyve: warning: the crash dump could not be written: No space left on device \(make room'
    (($(grep -c '^uhyve: ' stderr) == 2))
    expect_listing '0 core'
    FULL=61440
    on_disk "$UHYVE" --crash-dump=core "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_stderr_line '^uhyve: warning: the crash dump could not be written: No space left on device \(make room'
    expect_listing '0 core'
    "$UHYVE" --net=user "$(guest hello-v2)" >net 2>&1 || skip "no network in user mode here"
    FULL=65536
    on_disk "$UHYVE" --net=user --net-dump=capture "$(guest hello-v2)"
    expect_status 125
    expect_advice "cannot create the capture 'capture': No space left on device \\(make room"
    expect_listing ''
}

@test "no room for the names of output files" {
    need_mounts
    for option in -o=out --trace-file=out --profile=out --crash-dump=out; do
        # shellcheck disable=SC2016
        mounted 'mount -t tmpfs -o size=64k,nr_inodes=4 none . && cd "$0/place" && : >1 && : >2 && : >3' \
            "$UHYVE" "${option/-o=/-o}" "$(guest hello-v2)"
        expect_status 125
        expect_advice "cannot create the .* file 'out': No space left on device \\(make room"
    done
}

@test "an image on a full disk is one message, and nothing of it is left" {
    need_mounts
    tool=${TOOL:-$(dirname "$UHYVE")/uhyve-image}
    [[ -x $tool ]] || skip "there is no $tool"
    mkdir app
    cp "$(guest hello-v2)" app/kernel.elf
    head -c 8192 /dev/urandom >app/noise
    printf 'version = "1"\nkernel = "/kernel.elf"\n[input]\nkernel_args = []\napp_args = []\nenv_vars = []\n' >app/hermit.toml
    for FULL in 65536 61440; do
        for option in --zstd --force; do
            on_disk "$tool" build "$WORK/app" -o app.hermit $option
            expect_status 125
            expect_no_stdout
            expect_stderr_line "^uhyve-image: error: cannot write image 'app.hermit': No space left on device \\(make room"
            (($(wc -l <stderr) == 1))
            expect_listing ''
        done
    done
    # An older one stays as it was.
    # shellcheck disable=SC2016
    on_disk sh -c 'echo old >app.hermit; "$0" build "$1" -o app.hermit --force; status=$?; cat app.hermit; exit $status' \
        "$tool" "$WORK/app"
    expect_status 125
    expect_stdout old
    expect_listing '4 app.hermit'
}

@test "/dev/full instead of a standard stream" {
    [[ -c /dev/full ]] || skip "there is no /dev/full"
    status=0
    "$UHYVE" "$(guest hello-v2)" >/dev/full 2>stderr || status=$?
    expect_status 125
    expect_stderr_line '^uhyve: error: output of the guest was lost: No space left on device \(make room'
    # What cannot be told changes no status.
    status=0
    "$UHYVE" "$(guest exit-code-v2)" -- -- 7 >/dev/full 2>/dev/full || status=$?
    expect_status 7
    status=0
    "$UHYVE" "$(guest crash-v2)" -- -- ud2 2>/dev/full || status=$?
    expect_status 134
    status=0
    "$UHYVE" --stats --profile --trace "$(guest hello-v2)" >stdout 2>/dev/full || status=$?
    expect_status 0
    expect_stdout_line '^Hello from a unikernel.$'
    status=0
    "$UHYVE" no-image 2>/dev/full || status=$?
    expect_status 127
    tool=${TOOL:-$(dirname "$UHYVE")/uhyve-image}
    status=0
    "$tool" --help >/dev/full 2>stderr || status=$?
    expect_status 125
    expect_stderr_line '^uhyve-image: error: cannot write to standard output: No space left on device \(make room'
}
