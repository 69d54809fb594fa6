#!/usr/bin/env bats
# Standard streams that are closed, full, slow or gone, and signals.

load limits

# A test that failed half-way leaves no guest behind.
teardown() {
    [[ -z ${vmm:-} ]] || kill -KILL "$vmm" 2>/dev/null || true
}

# begin STDIN STDOUT CMD ARG...: run it in the background in a session of its own; sets $vmm.
begin() {
    local from=$1 to=$2
    shift 2
    rm -f session
    # shellcheck disable=SC2016
    setsid sh -c 'echo $$ >session; exec "$@"' - "$@" <"$from" >"$to" 2>stderr 3>&- &
    vmm=$!
    for _ in $(seq 1000); do
        [[ ! -s session ]] || break
        sleep 0.01
    done
}

# Wait for its end; $status is how it ended.
finish() {
    status=0
    wait "$vmm" || status=$?
    vmm=
    echo "status: $status"
    sed 's/^/stderr: /' stderr
}

until_line() {
    for _ in $(seq 1000); do
        ! grep -aqs -e "$1" "$2" || return 0
        sleep 0.01
    done
    echo "no '$1' in $2"
    return 1
}

closed=("<&-" ">&-" "2>&-" "<&- >&-" "<&- 2>&-" ">&- 2>&-" "<&- >&- 2>&-")

@test "closed standard streams are no files that are opened later" {
    touch single
    options=(-v --file-mapping out:/data --file-mapping single:/other/single --profile=out/profile
        --trace-file=out/trace --crash-dump=out/core)
    ! "$UHYVE" --net=user "$(guest hello-v2)" >net 2>&1 || options+=(--net=user --net-dump=out/capture)
    for how in "${closed[@]}"; do
        rm -rf out stdout stderr
        mkdir out
        touch stdout stderr
        status=0
        eval 'setsid -w sh -c '\''echo $$ >session; exec "$@"'\'' - "$UHYVE" "${options[@]}" "$(guest files-v2)" \
            -- -- "open /data/new wc 600" "write last mine" "read 0 10" "write 1 one" "write 2 two" \
            >stdout 2>stderr 3>&-' "$how" || status=$?
        echo "$how: $status"
        expect_nothing_left
        # Lost output is a failure; what is written to a closed standard error, the guest is told.
        [[ $how != *'>&-'* || $status == 125 ]]
        [[ $how == *'>&-'* || $status == 0 ]]
        [[ $(<out/new) == mine ]]
        [[ ! -s single ]]
        [[ ! -s out/core ]]
        ! grep -vaE '^ *[0-9]+\.[0-9]{6} (cpu|net)' out/trace || return 1
        head -n 1 out/profile | grep -q '^Profile: '
        ! grep -aE 'uhyve:|^one|two$' out/profile || return 1
        [[ ! -e out/capture ]] || ! grep -aE 'uhyve|one|two' out/capture || return 1
        # What is open gets everything.
        [[ $how == *' >'* || $how == '>'* ]] || grep -q '^onewrite 1 one = 3$' stdout
        [[ $how == *'2>'* ]] || grep -q '^uhyve: using the accelerator' stderr
        [[ $how != '<&-' ]] || grep -q '^read 0 10 = -9$' stdout
        [[ $how != '2>&-' ]] || grep -q '^write 2 two = -9$' stdout
    done
}

@test "closed standard streams do no harm to an image" {
    tool=${TOOL:-$(dirname "$UHYVE")/uhyve-image}
    [[ -x $tool ]] || skip "there is no $tool"
    mkdir app
    cp "$(guest hello-v2)" app/kernel.elf
    printf 'version = "1"\nkernel = "/kernel.elf"\n[input]\nkernel_args = []\napp_args = []\nenv_vars = []\n' >app/hermit.toml
    "$tool" build app -o good
    for how in "${closed[@]}"; do
        eval '"$tool" build app -o out/app.hermit' "$how"
        cmp good out/app.hermit
        rm out/app.hermit
        status=0
        eval '"$tool" show good >out/stdout 2>out/stderr' "$how" || status=$?
        [[ $how != *' >'* && $how != '>'* || $status == 125 ]]
        rm -f out/*
    done
}

@test "a reader that is gone is one error, whatever is done with SIGPIPE" {
    exec {gone}> >(exec true)
    wait $! || true # the shell may know already, and says then that it has no such child
    for action in default ignore; do
        [[ $action == default ]] || trap '' PIPE
        for generation in v1 v2; do
            status=0
            "$UHYVE" "$(guest hello-$generation)" >&"$gone" 2>stderr || status=$?
            expect_status 125
            expect_stderr_line '^uhyve: error: output of the guest was lost: Broken pipe \(check where it goes\)$'
            (($(grep -c error stderr) == 1))
        done
        status=0
        "$UHYVE" --help >&"$gone" 2>stderr || status=$?
        expect_status 125
        # Of a crash and its report only the status is left.
        status=0
        "$UHYVE" "$(guest crash-v2)" -- -- ud2 2>&"$gone" || status=$?
        expect_status 134
        "$UHYVE" --profile --trace "$(guest hello-v2)" 2>&"$gone" >stdout
        expect_stdout_line '^Hello from a unikernel.$'
    done
    exec {gone}>&-
}

@test "a slow reader gets everything" {
    head -c 400000 /dev/urandom >input
    status=0
    { "$UHYVE" "$(guest cat-v2)" <input || echo $? >failed; } | { sleep 0.3; head -c 1000; sleep 0.3; cat; } >output
    [[ ! -e failed ]]
    cmp input output
}

@test "a reader that does not read does not keep the guest from being stopped" {
    mkfifo full
    sleep 1000 <>full 3>&- &
    reader=$!
    head -c 400000 /dev/zero >input
    begin input full "$UHYVE" -c 2 "$(guest cat-v2)"
    sleep 0.3
    kill -TERM "$vmm"
    finish
    kill "$reader"
    expect_status 143
    expect_nothing_left
}

@test "SIGHUP ends the guest, unless it is ignored; SIGPIPE never does" {
    for image in spin-forever-v2 hlt-forever-v2; do
        # Under nohup it is ignored.
        begin /dev/null stdout env --default-signal=HUP "$UHYVE" -c 2 "$(guest $image)"
        until_line . stdout
        kill -PIPE "$vmm"
        kill -XFSZ "$vmm"
        kill -HUP "$vmm"
        finish
        expect_status 129
        expect_nothing_left
        trap '' HUP
        begin /dev/null stdout "$UHYVE" -c 2 "$(guest $image)"
        trap - HUP
        until_line . stdout
        kill -HUP "$vmm"
        sleep 0.05
        kill -INT "$vmm"
        kill -TERM "$vmm" # background jobs of a script ignore SIGINT
        finish
        expect_status 143
        expect_nothing_left
    done
}

@test "SIGQUIT ends the program at once; the next start removes what it left" {
    begin /dev/null stdout sh -c 'ulimit -c 0; exec "$@"' - "$UHYVE" -c 2 "$(guest spin-forever-v2)"
    until_line . stdout
    [[ -n $(ls tmp/*) ]]
    # A script's background jobs ignore it.
    kill -QUIT "$vmm"
    sleep 0.1
    kill -ABRT "$vmm"
    finish
    ((status == 131 || status == 134))
    run_alone "$UHYVE" "$(guest hello-v2)"
    expect_hello
}

@test "a stopped VM goes on where it was" {
    mkfifo input
    exec {feed}<>input
    begin input output "$UHYVE" -c 2 "$(guest cat-v2)" {feed}>&-
    echo before >&"$feed"
    until_line before output
    pid=$(<session)
    for _ in 1 2 3; do
        kill -STOP "$pid"
        echo while stopped >&"$feed"
        sleep 0.1
        kill -CONT "$pid"
    done
    echo after >&"$feed"
    exec {feed}>&-
    finish
    expect_status 0
    expect_nothing_left
    [[ $(<output) == $'before\nwhile stopped\nwhile stopped\nwhile stopped\nafter' ]]
    # Computing, and with the clock running on.
    begin /dev/null stdout "$UHYVE" -c 2 "$(guest spin-forever-v2)"
    until_line . stdout
    for signal in STOP CONT STOP CONT STOP TERM CONT; do
        kill -$signal "$vmm"
        sleep 0.05
    done
    finish
    expect_status 143
    expect_nothing_left
}

@test "a terminal that is hung up ends the guest" {
    type script >/dev/null || skip "there is no script(1)"
    # script(1) is the other end of the terminal.
    env --default-signal=HUP script -qfec "echo \$\$ >session; exec '$UHYVE' -c 2 '$(guest spin-forever-v2)'" typescript </dev/null >stdout 2>&1 3>&- &
    terminal=$!
    until_line spinning typescript
    kill -KILL "$terminal"
    wait "$terminal" || true
    expect_nothing_left
}
