#!/usr/bin/env bats
# What a guest can do with files: the guest "files" makes the calls that its arguments say and shows
# their results, one line each. Every test goes through both generations of the interface.

load helpers

setup() {
    common_setup
    skip_unless_kvm
    mkdir dir tmp
    export TMPDIR=$WORK/tmp
    echo hello >dir/file
}

# Nothing is left in the temporary directory.
expect_clean() {
    [[ -z $(find tmp -mindepth 2) ]] || {
        find tmp
        echo "expected nothing left behind in the temporary directory"
        return 1
    }
}

# calls GENERATION OPTION... -- CALL...: run the guest; it must end well and leave nothing behind.
calls() {
    local image options=()
    image=$(guest "files-$1")
    shift
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    shift
    run_uhyve "${options[@]}" "$image" -- -- "$@"
    expect_status 0
    expect_clean
}

# result CALL RESULT: this line is in the output.
result() {
    grep -aqxF -e "$1 = $2" "$WORK/stdout" || {
        echo "expected: $1 = $2"
        return 1
    }
}

@test "what a guest creates without a mapping is its own, and gone afterwards" {
    for generation in v1 v2; do
        calls $generation -- "open /root/x +c 644" "write 3 Hello, world!" "seek 3 0 0" \
            "read 3 100" "close 3" "open /root/x r" "read 4 5" "unlink /root/x" "read 4 100" \
            "close 4" "open /root/x r" "unlink /root/x"
        result "open /root/x +c 644" 3
        result "write 3 Hello, world!" 13
        result "read 3 100" "13 Hello, world!"
        result "open /root/x r" 4
        result "read 4 5" "5 Hello"
        result "unlink /root/x" 0
        result "read 4 100" "8 , world!"
        result "close 4" 0
        result "open /root/x r" -2
        result "unlink /root/x" -2
    done
}

@test "a mapped directory: create, read back, list, stat and unlink" {
    for generation in v1 v2; do
        calls $generation --file-mapping dir:/data -- "open /data/new wc 600" "write 3 12345" \
            "close 3" "open /data/file r" "read 4 100" "mkdir /data/sub" "mkdir /data/sub" \
            "stat /data/new" "fstat 4" "open /data d" "list 5 1024" "list 5 1024" \
            "unlink /data/sub" "unlink /data/file" "open /data/sub/deep wc" "open /data/sub/deep r"
        result "read 4 100" "6 hello
"
        result "mkdir /data/sub" 0
        result "mkdir /data/sub" -17
        expect_stdout_line '^stat /data/new = mode=8180 size=5 nlink=1 blocks='
        expect_stdout_line '^fstat 4 = mode=81a4 size=6 nlink=1 blocks=[1-9]'
        expect_stdout_line '^list 5 1024 = .* \.:4'
        expect_stdout_line '^list 5 1024 = .* \.\.:4'
        expect_stdout_line '^list 5 1024 = .* new:8'
        expect_stdout_line '^list 5 1024 = .* sub:4'
        result "list 5 1024" 0
        result "unlink /data/sub" -21
        result "unlink /data/file" 0
        [[ $(cat dir/new) == 12345 && -e dir/sub/deep && ! -e dir/file ]]
        rm -r dir/sub dir/new
        echo hello >dir/file
    done
}

@test "single files: one that exists, one that does not yet" {
    for generation in v1 v2; do
        calls $generation --file-mapping dir/file:/in/a --file-mapping missing:/out/b -- \
            "open /in/a +" "read 3 9" "close 3" "stat /out/b" "open /out/b r" \
            "open /out/b wc 644" "write 4 content" "stat /out/b" "unlink /in/a" "open /in/a r" \
            "open /in/a wc 600" "open /in d" "list last 99" "open /out/c wc"
        result "open /in/a +" 3
        result "stat /out/b" -2
        result "open /out/b r" -2
        expect_stdout_line '^stat /out/b = mode=81a4 size=7 '
        result "unlink /in/a" 0
        result "open /in/a r" -2
        result "open /in/a wc 600" 5 # now a file of its own
        result "list last 99" "24 a:8"
        [[ ! -e dir/file && $(cat missing) == content && ! -e c ]]
        rm missing
        echo hello >dir/file
    done
}

@test "read-only mappings cannot be changed" {
    for generation in v1 v2; do
        calls $generation --file-mapping dir:/data:ro --file-mapping dir/file:/f/file:ro \
            --file-mapping none:/f/none:ro -- "open /data/file r" "read 3 9" "open /data/file w" \
            "open /data/file rt" "open /data/file rc" "open /data/file cx" "open /data/new wc" \
            "open /data w" "mkdir /data/sub" "mkdir /data" "unlink /data/file" "unlink /f/file" \
            "unlink /data/none" "open /f/file +" "open /f/none wc" "mkdir /f/none"
        expect_stdout_line "^read 3 9 = 6"
        for call in "open /data/file w" "open /data/file rt" "open /data/new wc" \
            "mkdir /data/sub" "unlink /data/file" "unlink /f/file" "open /f/file +" \
            "open /f/none wc" "mkdir /f/none"; do
            result "$call" -30
        done
        result "open /data/file rc" 4
        result "open /data/file cx" -17
        result "open /data w" -21
        result "mkdir /data" -17
        result "unlink /data/none" -2
        [[ $(ls dir) == file && $(cat dir/file) == hello ]]
    done
}

@test "mounts in the device tree are the topmost directories" {
    run_uhyve --file-mapping dir:/testdir3/subdir1/subdir2 --file-mapping dir:/testdir1 \
        --file-mapping dir/file:/other/file --file-mapping dir:/other/below \
        "$(guest bootinfo-v2)"
    expect_status 0
    expect_stdout_line '^/uhyve,mounts/mounts=/other,/testdir1,/testdir3/subdir1/subdir2$'
    expect_no_stderr
    run_uhyve "$(guest bootinfo-v2)"
    ! grep -aq uhyve,mounts stdout || return 1
    run_uhyve --file-mapping dir:/tmp --file-mapping dir/file:/file "$(guest bootinfo-v2)"
    expect_status 0
    ! grep -aq uhyve,mounts stdout || return 1
    expect_stderr_line "^uhyve: warning: '/tmp' is mapped, but programs .* cannot reach it"
    expect_stderr_line "^uhyve: warning: '/file' is mapped, but programs .* cannot reach it"
}

@test "mappings that cannot be are refused" {
    local image
    image=$(guest files-v2)
    run_uhyve --file-mapping dir:/a --file-mapping dir:/a/b "$image"
    expect_status 2
    expect_one_error "'/a/b'"
    run_uhyve --file-mapping dir:/a/b --file-mapping dir:a//b/ "$image"
    expect_status 2
    expect_one_error "'a//b/'"
    run_uhyve --file-mapping dir:/ "$image"
    expect_status 2
    run_uhyve --file-mapping none/none:/a "$image"
    expect_status 125
    expect_one_error "'none/none'.*create"
    run_uhyve --tempdir none "$image"
    expect_status 125
    expect_one_error "'none'.*--tempdir"
    expect_clean
}

@test "links are followed inside of a mapped directory and never lead out" {
    mkdir dir/sub
    echo secret >secret
    ln -s file dir/in
    ln -s ../file dir/sub/up
    ln -s sub dir/way
    ln -s ../secret dir/out
    ln -s "$WORK/secret" dir/absolute
    ln -s "$WORK/dir/file" dir/absolute-in
    ln -s .. dir/parent
    ln -s loop dir/loop
    ln -s new dir/dangling
    ln -s ../new dir/dangling-out
    for generation in v1 v2; do
        calls $generation --file-mapping dir:/d -- "open /d/in r" "open /d/way/up r" \
            "open /d/dangling wc 600" "open /d/out r" "open /d/absolute r" "open /d/absolute-in r" \
            "open /d/parent/secret r" "open /d/dangling-out wc" "open /d/loop r" "stat /d/out" \
            "mkdir /d/parent/x" "unlink /d/parent/secret" "open /d/parent d" \
            "open /d/../secret r" "open /d/sub/../../secret r" "open /d/way/up/../../secret r" \
            "open d/./in r" "open //d//in/ r" "unlink /d/in"
        result "open /d/in r" 3
        result "open /d/way/up r" 4
        result "open /d/dangling wc 600" 5
        for call in "open /d/out r" "open /d/absolute r" "open /d/absolute-in r" \
            "open /d/parent/secret r" "open /d/dangling-out wc" "stat /d/out" \
            "mkdir /d/parent/x" "unlink /d/parent/secret" "open /d/parent d"; do
            result "$call" -13
        done
        result "open /d/loop r" -40
        result "open /d/../secret r" -2
        result "open /d/sub/../../secret r" -2
        result "open /d/way/up/../../secret r" -2
        result "open d/./in r" 6
        result "open //d//in/ r" 7
        result "unlink /d/in" 0
        [[ -e dir/new && -e secret && -e dir/file && ! -e new && ! -e x ]]
        rm dir/new
        ln -s file dir/in
    done
}

@test "large files go through whole, mapped or not" {
    for generation in v1 v2; do
        calls $generation --file-mapping dir:/d -- "open /d/big +c 600" "fill 3 1100001" \
            "seek 3 0 0" "check 3 2000000" "open /t/big +c" "fill 4 1100001" "seek 4 0 0" \
            "check 4 2000000" "seek 4 -1 2" "read 4 9" "seek 4 0 1"
        result "fill 3 1100001" 1100001
        result "check 3 2000000" 1100001
        result "fill 4 1100001" 1100001
        result "check 4 2000000" 1100001
        result "seek 4 -1 2" 1100000
        result "seek 4 0 1" 1100001
        [[ $(stat -c %s dir/big) == 1100001 ]]
        rm dir/big
    done
}

@test "positions: from the start, from here, from the end, and appending" {
    for generation in v1 v2; do
        for name in /d/f /t/f; do
            calls $generation --file-mapping dir:/d -- "open $name +cta 644" "write 3 abc" \
                "seek 3 0 0" "write 3 def" "seek 3 1 0" "read 3 9" "seek 3 -1 0" "seek 3 9 7" \
                "seek 3 100 1" "read 3 9" "open $name +" "seek 4 2 0" "write 4 X" "seek 4 -6 2" \
                "read 4 9" "open $name +t" "seek 5 0 2"
            result "seek 3 1 0" 1
            result "read 3 9" "5 bcdef"
            result "read 3 9" 0
            result "seek 3 100 1" 106
            if [[ $generation == v1 ]]; then
                result "seek 3 -1 0" -1
                result "seek 3 9 7" -1
            else
                result "seek 3 -1 0" -22
                result "seek 3 9 7" -22
            fi
            result "read 4 9" "6 abXdef"
            result "seek 5 0 2" 0
        done
    done
}

@test "the space in the temporary directory is limited, holes count" {
    for generation in v1 v2; do
        calls $generation --limit-temp 400K -- "open /a +c 600" "fill 3 300000" \
            "open /b +c 600" "fill 4 300000" "seek 4 0 2" "seek 4 5000000000 0" "write 4 x" "fstat 4" "close 3" \
            "unlink /a" "seek 4 0 2" "fill 4 200000" "open /b t" "open /c +c" \
            "fill last 300000" "seek last 0 2"
        expect_stdout_line '^seek 4 0 2 = 10[0-9]{4}$'
        expect_stdout_line '^fstat 4 = mode=.* size=10[0-9]{4} '
        expect_stdout_line '^seek last 0 2 = 300000$'
        calls $generation --limit-temp 10K -- "mkdir /a" "mkdir /b" "mkdir /c" "open /c wc" \
            "stat /c" "mkdir /a/b/c"
        result "mkdir /b" 0
        result "mkdir /c" -28
        result "open /c wc" -28
        result "stat /c" -2
    done
}

@test "the number of open files is limited, and numbers are not used again" {
    for generation in v1 v2; do
        calls $generation --limit-files 3 -- "open /a wc 600" "open /b wc" "open /c wc" "open /d wc" \
            "stat /d" "close 4" "open /d wc" "close 5" "close 5" "open /none r" "open /a r" \
            "close 4"
        result "open /c wc" 5
        result "stat /d" -2
        result "open /d wc" -24
        result "open /d wc" 6
        result "open /a r" 7
        result "close 4" -9
    done
}

@test "listings continue where they ended, and positions must be the beginning of an entry" {
    for generation in v1 v2; do
        calls $generation --file-mapping dir:/a/host --file-mapping dir/file:/a/file -- \
            "open /a/new wc" "mkdir /a/dir" "open /a d" "list 4 48" "list 4 23" "list 4 24" \
            "list 4 1000" "list 4 1000" "seek 4 24 0" "list 4 24" "seek 4 25 0" "list 4 1000" \
            "read 4 9" "write 4 x" "list 3 100" "seek 4 9999 0" "seek 4 0 2"
        result "list 4 48" "48 dir:4 file:8"
        result "list 4 23" -22
        result "list 4 24" "24 host:4"
        result "list 4 1000" "24 new:8"
        result "list 4 1000" 0
        result "list 4 24" "24 file:8"
        result "list 4 1000" -22
        result "read 4 9" -21
        result "list 3 100" -20
    done
}

@test "FIFOs and devices: reads wait for the other end, not the VMM" {
    mkfifo dir/fifo
    (sleep 0.3; echo through the pipe >dir/fifo) &
    calls v2 --file-mapping dir:/d --file-mapping /dev/zero:/d2/zero -- "open /d/fifo r" \
        "read 3 100" "close 3" "open /d/fifo w" "open /d2/zero r" "read 4 3" "seek 4 0 0"
    expect_stdout_line '^read 3 100 = 17 through the pipe$'
    result "open /d/fifo w" -6
    expect_stdout_line "^read 4 3 = 3"
    wait
}

@test "a read that waits for ever ends with the VM" {
    mkfifo dir/fifo
    local image
    image=$(guest files-v2)
    "$UHYVE" --file-mapping dir:/d "$image" -- -- "open /d/fifo r" "read 3 100" >out 2>&1 &
    local pid=$!
    sleep 0.5
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    expect_status 143
    expect_clean
}

@test "sync and direct I/O reach mapped and temporary files" {
    calls v2 --io-mode host=sync --file-mapping dir:/d -- "open /d/file r" "open /d/new wc 600" \
        "write 4 abc" "open /t wc" "write 5 abc"
    result "write 4 abc" 3
    result "write 5 abc" 3
    [[ $(stat -f -c %T .) != tmpfs ]] || skip "no O_DIRECT on this file system"
    calls v2 --io-mode host=direct --file-mapping dir:/d -- "open /d/x +c 600" "fill 3 65536" \
        "write 3 unaligned" "seek 3 0 0" "check 3 65536" "open /d d" "open /t +c" \
        "fill 5 65536" "write 5 unaligned"
    result "fill 3 65536" 65536
    result "write 3 unaligned" -22
    result "check 3 65536" 65536
    result "open /d d" 4
    result "fill 5 65536" 65536
    result "write 5 unaligned" -22
}

@test "the temporary directory is private, and cleaned up after a crash and after kill" {
    local image stale
    image=$(guest files-v2)
    mkfifo dir/fifo
    "$UHYVE" --file-mapping dir:/d "$image" -- -- "open /x wc" "write 3 abc" "open /d/fifo r" \
        "read last 1" >out 2>&1 &
    local pid=$!
    for ((i = 0; i < 100; i++)); do
        stale=$(find tmp -type f -size +0)
        [[ -z $stale ]] || break
        sleep 0.1
    done
    [[ $(cat "$stale") == abc ]]
    [[ $(stat -c %a tmp/*) == 700 && $(stat -c %a "$(dirname "$stale")") == 700 ]]
    # Another VM leaves what is in use alone.
    calls_other() {
        run_uhyve "$image" -- -- "open /y wc"
        expect_status 0
    }
    calls_other
    [[ -e $stale ]]
    kill -KILL $pid
    wait $pid || true
    [[ -e $stale ]]
    calls_other
    expect_clean
    run_uhyve "$(guest crash-v2)" -- -- ud2
    expect_status 134
    expect_clean
    # Somebody else's directory is not used.
    chmod 755 tmp/uhyve-*
    run_uhyve "$image"
    expect_status 125
    expect_one_error "mode 0700"
}

@test "random calls on files from all CPUs hurt nothing outside" {
    mkdir dir/sub
    ln -s file dir/link
    ln -s .. dir/out
    echo secret >secret
    for generation in v1 v2; do
        run_uhyve -c 2 --file-mapping dir:/d --limit-temp 16M --stats \
            "$(guest storm-$generation)" -- -- 1 $RANDOM </dev/null
        expect_status 0
        expect_stdout_line '^storm: [1-9][0-9]* calls$'
        expect_clean
        [[ $(cat secret) == secret && $(ls) == "$(printf '%s\n' dir secret stderr stdout tmp)" ]]
        (($(du -sm dir | cut -f1) < 64))
        ldd "$UHYVE" | grep -Eq 'lib[at]san' ||
            (($(sed -n 's/^Peak memory: *\([0-9]*\).* MiB$/\1/p' stdout) < 64))
    done
}

@test "a limit of the host on the size of files is an error of the guest" {
    for generation in v1 v2; do
        (ulimit -f 17408 && calls $generation -m 16M --file-mapping dir:/d -- \
            "open /d/new wc 600" "seek 3 17825790 0" "write 3 abcdef" "write 3 abcdef" \
            "open /t wc 600" "seek 4 17825790 0" "write 4 abcdef" "write 4 abcdef" "fstat 4")
        expect_stdout_line '^fstat 4 = mode=.* size=17825792 '
        [[ $generation == v1 ]] || result "write 3 abcdef" 2
        [[ $generation == v1 ]] || result "write 4 abcdef" -27
        [[ $(stat -c %s dir/new) == 17825792 ]]
        rm dir/new
    done
}

@test "without isolation links lead anywhere, as with the reference implementation" {
    echo secret >secret
    ln -s ../secret dir/out
    calls v2 --file-isolation none --file-mapping dir:/d -- "open /d/out r" "read 3 6"
    result "read 3 6" "6 secret"
}
