#!/usr/bin/env bats
# uhyve-image: making Hermit images and showing what is in them.

load helpers

TOOL=${TOOL:-$(dirname "$UHYVE")/uhyve-image}

run_tool() {
    [[ -x $TOOL ]] || skip "there is no $TOOL"
    run_limited "$TOOL" "$@"
}

expect_tool_error() {
    expect_no_stdout
    expect_stderr_line "^uhyve-image: error: .*$1"
    (($(wc -l <stderr) == 1))
}

image_directory() {
    mkdir -p app/data
    cp "$(guest "$1")" app/kernel.elf
    echo hello >app/data/words.txt
    : >app/data/empty
    cat >app/hermit.toml <<'TOML'
version = "1"
kernel = "/kernel.elf"
[input]
kernel_args = ["-freq", "1000"]
app_args = ["a \"b\""]
env_vars = ["A=1"]
[requirements]
memory = "64MiB"
cpus = 1
TOML
}

@test "what build makes is shown and boots" {
    image_directory initrd-v2
    for how in '' --zstd; do
        run_tool build app -o app.hermit -f $how
        expect_status 0
        expect_no_stdout
        expect_no_stderr
        run_tool show app.hermit
        expect_status 0
        expect_stdout_line "^image +${how:2}"
        expect_stdout_line '^kernel +kernel.elf, Hermit 0.13.0, hypercall interface 3$'
        expect_stdout_line 'entry 0x[0-9a-f]+, relocatable'
        expect_stdout_line '^app args +a "b"$'
        expect_stdout_line '^requires +64 MiB of memory$'
        expect_stdout_line '^ +6  data/words.txt$'
        expect_stdout_line '^ +0  data/empty$'
    done
    skip_unless_kvm
    run_uhyve --hermit-image-mode internal app.hermit
    expect_status 0
    expect_stdout_line '^file=data/words.txt size=6 sum=542$'
    expect_stdout_line '^file=data/empty size=0 sum=0$'
}

@test "tar reads what build makes" {
    image_directory hello-v2
    name=$(printf 'n%.0s' {1..90})
    mkdir -p "app/$name"
    echo long >"app/$name/file"
    # More than 100 bytes: cut at a slash, with at most 155 before it and 100 behind.
    mkdir -p "app/$name/$name" "app/$name/${name:26}"
    echo hundred >"app/${name}0123456789"
    echo cut >"app/$name/$name/file"
    echo most >"app/$name/${name:26}/${name}0123456789"
    run_tool build app -o app.hermit
    expect_status 0
    mkdir unpacked
    tar -xzf app.hermit -C unpacked
    diff -r app unpacked
    run_tool show app.hermit
    expect_stdout_line "^ +4  $name/$name/file$"
    expect_stdout_line "^ +5  $name/${name:26}/${name}0123456789$"
    for long in "${name}01234567890" "$name/${name:26}/${name}01234567890"; do
        echo long >"app/$long"
        run_tool build app -fo app.hermit
        expect_status 126
        expect_tool_error 'too long a name'
        rm "app/$long"
    done
}

@test "the JSON form has everything" {
    image_directory hello-v2
    "$TOOL" build app -o app.hermit
    run_tool show --json app.hermit
    expect_status 0
    (($(wc -l <stdout) == 1))
    for part in '"format":"gzip"' "\"size\":$(stat -c %s app.hermit)," '"unpacked_size":[0-9]+' \
        '"kernel":\{"name":"kernel.elf","size":[0-9]+,"version":"0.13.0","interface":3,' \
        '"relocatable":true' '"kernel_args":\["-freq","1000"\]' '"app_args":\["a \\"b\\""\]' \
        '"env_vars":\["A=1"\]' '"requirements":\{"memory":67108864,"cpus":1\}' \
        '\{"name":"data/empty","size":0\},\{"name":"data/words.txt","size":6\}'; do
        expect_stdout_line "$part"
    done
    cp "$(guest hello-legacy)" app/kernel.elf
    "$TOOL" build app -fo app.hermit
    run_tool show --json app.hermit
    expect_stdout_line '"version":null,"interface":1'
}

@test "the same directory gives the same image" {
    image_directory hello-v2
    for how in '' --zstd; do
        run_tool build app -o one $how -f
        cp -r app other
        rm -r app
        mv other app
        touch -d 2001-01-01 app/* app/data/*
        chmod 600 app/data/words.txt
        run_tool build app/ -o app/two $how
        expect_status 0
        cmp one app/two
        # An earlier result in the directory does not become part of the next.
        run_tool build app/ -o app/two $how --force
        expect_status 0
        cmp one app/two
        rm app/two
    done
}

@test "an existing image is kept unless forced, and nothing half done is left" {
    image_directory hello-v2
    echo precious >app.hermit
    run_tool build app -o app.hermit
    expect_status 125
    expect_tool_error 'exists already \(use --force'
    [[ $(cat app.hermit) == precious ]]
    echo garbage >app/kernel.elf
    run_tool build app -o app.hermit --force
    expect_status 126
    [[ $(cat app.hermit) == precious ]]
    run_tool build app -o missing/app.hermit
    expect_status 126
    cp "$(guest hello-v2)" app/kernel.elf
    run_tool build app -o missing/app.hermit
    expect_status 125
    expect_tool_error "cannot create image 'missing/app.hermit'"
    (umask 027; "$TOOL" build app -o new.hermit)
    [[ $(stat -c %a new.hermit) == 640 ]]
    [[ $(ls -A) == $'app\napp.hermit\nnew.hermit\nstderr\nstdout' ]]
}

@test "an interrupted build leaves nothing" {
    image_directory hello-v2
    truncate -s 3G app/large
    "$TOOL" build app -o app.hermit 3>&- &
    pid=$!
    until compgen -G 'app.hermit.*' >/dev/null; do
        kill -0 $pid
        sleep 0.01
    done
    kill -TERM $pid
    status=0
    wait $pid || status=$?
    ((status == 143))
    ! compgen -G 'app.hermit*'
}

@test "build refuses what would not boot" {
    image_directory hello-v2
    sed -i 's/cpus = 1/cpus = -1/' app/hermit.toml
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error 'hermit.toml:9: cpus must be'
    rm app/hermit.toml
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error "'app' has no hermit.toml"
    image_directory hello-v2
    rm app/kernel.elf
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error "the kernel '/kernel.elf' .* is not in directory 'app'"
    for bad in hello-if4 hello-entry3; do
        cp "$GUESTS/$bad" app/kernel.elf
        run_tool build app -o app.hermit
        expect_status 126
        expect_tool_error 'kernel.elf'
    done
    image_directory hello-v2
    truncate -s 8G app/large
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error "'app/large' is too large for an image"
    rm app/large
    : >"app/"$'\xff'
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error "'app/[?]' has a name that is not UTF-8"
    rm "app/"$'\xff'
    run_tool build app/hermit.toml -o app.hermit
    expect_status 2
    expect_tool_error "'app/hermit.toml' is not a directory"
    run_tool build nowhere -o app.hermit
    expect_status 127
    expect_tool_error "cannot read directory 'nowhere'"
    run_tool build app -o app/hermit.toml/app.hermit
    expect_status 125
    expect_tool_error "cannot examine image 'app/hermit.toml/app.hermit'"
    mkfifo app/fifo
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error "'app/fifo' is neither a regular file nor a link to one"
    rm app/fifo
    ln -s nowhere app/link
    run_tool build app -o app.hermit
    expect_status 126
    rm app/link
    echo x >"app/$(printf 'n%.0s' {1..101})"
    run_tool build app -o app.hermit
    expect_status 126
    expect_tool_error 'too long a name'
    [[ ! -e app.hermit ]]
}

@test "links to files are packed as files" {
    image_directory hello-v2
    echo target >target
    ln -s ../target app/soft
    ln app/data/words.txt app/hard
    run_tool build app -o app.hermit
    expect_status 0
    run_tool show app.hermit
    expect_stdout_line '^ +7  soft$'
    expect_stdout_line '^ +6  hard$'
}

@test "show says what is wrong" {
    image_directory hello-v2
    run_tool show missing
    expect_status 127
    run_tool show app/data/words.txt
    expect_status 126
    expect_tool_error 'not a Hermit image'
    run_tool show "$(guest hello-v2)"
    expect_status 126
    "$TOOL" build app -o app.hermit
    head -c 1000 app.hermit >cut
    run_tool show cut
    expect_status 126
    expect_tool_error truncated
    run_tool show --limit-image 1K app.hermit
    expect_status 126
    expect_tool_error '--limit-image'
    run_limited sh -c '"$1" show app.hermit >/dev/full' sh "$TOOL"
    expect_status 125
}

@test "usage errors" {
    for line in '' frobnicate show build 'build app' 'show a b' 'show --zstd a' \
        'build app -o x --json' 'show --limit-image x a' 'show --frob' 'build app -o'; do
        # shellcheck disable=SC2086 # several words
        run_tool $line
        expect_status 2
        expect_tool_error 'see uhyve-image --help'
    done
    run_tool --help
    expect_status 0
    expect_stdout_line '^Usage: uhyve-image build'
    run_tool -V
    expect_status 0
    expect_stdout_line '^uhyve-image [0-9]'
}

@test "the manual page explains every option of the help" {
    page=$top/docs/uhyve-image.1
    for name in $("$TOOL" --help | grep -oE '^ .*--[a-z-]+ ' | grep -oE -- '--[a-z-]+'); do
        grep -q "^\.It .*Fl Fl ${name#--}" "$page" || { echo "$name"; false; }
    done
}
