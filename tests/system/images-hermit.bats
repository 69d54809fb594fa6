#!/usr/bin/env bats
# Hermit images: archives with a kernel, its configuration and files (spec/files.md section 6).

load helpers

# image_directory GUEST: app/ with this guest as its kernel, a configuration and two files.
image_directory() {
    mkdir -p app/data/deep
    cp "$(guest "$1")" app/kernel.elf
    echo hello >app/data/words.txt
    head -c 100000 /dev/zero | tr '\0' x >app/data/deep/large
    configure
}

# configure [LINE...]: a minimal app/hermit.toml with these lines of [input] or after it.
configure() {
    {
        echo 'version = "1"'
        echo 'kernel = "/kernel.elf"'
        echo '[input]'
        grep -q kernel_args <<<"$*" || echo 'kernel_args = []'
        grep -q app_args <<<"$*" || echo 'app_args = []'
        for line in "$@"; do
            echo "$line"
        done
    } >app/hermit.toml
}

# pack [TAR-OPTION...]: app.hermit from app/.
pack() {
    tar -cz -f app.hermit -C app "$@" .
}

both_modes() {
    for mode in external internal; do
        run_uhyve --hermit-image-mode "$mode" "${@:2}" "$1"
        expect_status 0
    done
}

@test "an image boots in both modes, packed in any way and with any name" {
    skip_unless_kvm
    image_directory hello-v2
    cp "$(guest hello-v1)" app/kernel1.elf
    pack
    both_modes app.hermit
    expect_stdout_line 'Hello'
    tar -cf plain -C app .
    both_modes plain
    tar -c --zstd -f image.zst -C app hermit.toml kernel.elf
    both_modes image.zst
    for format in ustar gnu posix v7 oldgnu; do
        pack --format=$format
        both_modes app.hermit
    done
    sed -i 's/kernel.elf/.\/kernel1.elf/' app/hermit.toml
    pack
    both_modes app.hermit
}

@test "arguments and variables of the image are passed on" {
    skip_unless_kvm
    image_directory bootinfo-v2
    configure 'kernel_args = ["-freq", "1000"]' 'app_args = ["x y"]' 'env_vars = ["A=1", "B=2"]'
    pack
    run_uhyve -e B=3 app.hermit
    expect_status 0
    expect_stdout_line "bootargs=-freq 1000 env=A=1 env=B=3 -- 'x y'\$"
    run_uhyve app.hermit one -- -- two
    expect_stdout_line 'bootargs=one env=A=1 env=B=2 -- two$'
    run_uhyve app.hermit -- --
    expect_stdout_line 'bootargs=env=A=1 env=B=2$'
    run_uhyve -e host app.hermit
    ! grep -q 'env=A=1' stdout
}

@test "an image cannot ask for the host's environment" {
    skip_unless_kvm
    image_directory bootinfo-v2
    configure 'env_vars = ["host", "A=1"]'
    pack
    SECRET=x run_uhyve app.hermit
    expect_status 0
    expect_stdout_line 'bootargs=env=A=1$'
    expect_stderr_line "warning: image 'app.hermit': 'host' of its env_vars"
}

@test "a guest of early kernels gets the image's arguments, too" {
    skip_unless_kvm
    image_directory echo-args-legacy
    configure 'kernel_args = ["one"]' 'app_args = ["two"]'
    pack
    run_uhyve app.hermit
    expect_status 0
    expect_stdout_line one
    expect_stdout_line two
}

@test "requirements are checked and not applied" {
    image_directory hello-v2
    configure '[requirements]' 'memory = "64MiB"' 'cpus = 2'
    pack
    run_uhyve -m 32M -c 2 app.hermit
    expect_status 126
    expect_one_error 'wanted 64 MiB, got 32 MiB \(use -m 64M\)'
    run_uhyve -m 64M app.hermit
    expect_status 126
    expect_one_error 'wanted 2, got 1 \(use -c 2\)'
    skip_unless_kvm
    run_uhyve -m 64M -c 2 app.hermit
    expect_status 0
}

@test "in internal mode the guest finds the archive in its memory" {
    skip_unless_kvm
    for guest in initrd-v1 initrd-v2 initrd-exec-v2 initrd-legacy; do
        image_directory "$guest"
        tar -cz -f app.hermit --format=ustar -C app hermit.toml kernel.elf data/words.txt
        run_uhyve --hermit-image-mode internal app.hermit
        expect_status 0
        expect_stdout_line '^placed=1 reserved=1 blocks=1$'
        expect_stdout_line '^file=data/words.txt size=6 sum=542$'
        expect_stdout_line "^file=kernel.elf size=$(stat -c %s app/kernel.elf) "
        run_uhyve app.hermit
        expect_stdout 'no archive'
    done
}

@test "in internal mode the archive must fit into memory" {
    skip_unless_kvm
    image_directory hello-v2
    head -c 16M /dev/zero >app/large
    pack
    run_uhyve -m 16M --hermit-image-mode internal app.hermit
    expect_status 126
    expect_one_error 'does not fit into the guest.s memory'
    run_uhyve -m 16M app.hermit
    expect_status 0
    run_uhyve -m 32M --hermit-image-mode internal app.hermit
    expect_status 0
}

# refused WORDS...: with status 126 and one line that has these words.
refused() {
    for mode in external internal; do
        run_uhyve --hermit-image-mode "$mode" app.hermit
        expect_status 126
        expect_one_error "$*"
    done
}

@test "what is no image is refused with its reason" {
    image_directory hello-v2
    echo 'this is not an image, but it is long enough to be looked at' >app.hermit
    refused 'neither an ELF file nor a Hermit image'
    gzip -c app/data/words.txt >app.hermit
    refused 'corrupt'
    gzip -c app/data/deep/large >app.hermit
    refused 'corrupt'
    tar -czf app.hermit -C app kernel.elf
    refused 'has no hermit.toml'
    tar -czf app.hermit -C app hermit.toml
    refused "the kernel '/kernel.elf' .* is not in it"
    cp app/data/words.txt app/kernel.elf
    pack
    refused "app.hermit:kernel.elf.*neither an ELF file"
    run_uhyve missing.hermit
    expect_status 127
}

@test "errors in the configuration are named with their line" {
    image_directory hello-v2
    sed -i 's/version = .*/version = 2/' app/hermit.toml
    pack
    refused 'hermit.toml:1: version must be a string'
    configure 'app_args = ["a"' 'env_vars = 7'
    pack
    refused 'hermit.toml:[56]:'
    echo 'version = "1"' >app/hermit.toml
    pack
    refused "hermit.toml: 'kernel' is missing"
}

@test "an image cut off at any block is refused" {
    mkdir app
    configure
    echo kernel >app/kernel.elf
    tar -cf whole --format=ustar -b 1 -C app hermit.toml kernel.elf
    size=$(stat -c %s whole)
    ((size == 6 * 512))
    for ((cut = 512; cut < size - 512; cut += 512)); do
        head -c $cut whole >app.hermit
        run_uhyve app.hermit
        expect_status 126
        expect_one_error 'corrupt'
        gzip -c app.hermit >packed
        run_uhyve packed
        expect_status 126
        expect_one_error 'corrupt'
    done
    gzip -c whole >packed
    size=$(stat -c %s packed)
    for ((cut = 18; cut < size; cut += 13)); do
        head -c $cut packed >app.hermit
        run_uhyve app.hermit
        expect_status 126
        expect_one_error 'truncated'
    done
}

@test "a wrong checksum is noticed" {
    image_directory hello-v2
    pack
    size=$(stat -c %s app.hermit)
    printf '\xff\xff' | dd of=app.hermit bs=1 seek=$((size - 8)) conv=notrunc status=none
    refused 'incorrect data check'
}

@test "bombs are refused at the limit" {
    image_directory hello-v2
    truncate -s 96M app/hole
    gzip -1 <app/hole >app.hermit
    run_uhyve --limit-image 64M app.hermit
    expect_status 126
    expect_one_error 'unpacks to more than 64 MiB .*--limit-image'
    pack --sparse
    run_uhyve --limit-image 64M app.hermit
    expect_status 126
    expect_one_error 'more than 64 MiB .*--limit-image'
    rm app/hole
    truncate -s 32M app/hole
    pack --sparse
    skip_unless_kvm
    run_uhyve --limit-image 64M app.hermit
    expect_status 0
}

@test "hostile names are refused, harmless ones normalised" {
    image_directory hello-v2
    for name in ../../etc/passwd .. data/../../x; do
        tar -czPf app.hermit -C app --transform "s|^data/words.txt|$name|" \
            hermit.toml kernel.elf data/words.txt
        refused 'leads out of the archive'
    done
    tar -czPf app.hermit -C app --transform 's|^data/words.txt|kernel.elf/x|' \
        hermit.toml kernel.elf data/words.txt
    refused "'kernel.elf' is a directory too"
    printf 'x' >$'app/gr\xfc\xdf'
    pack
    refused 'not UTF-8'
    rm $'app/gr\xfc\xdf'
    skip_unless_kvm
    tar -czPf app.hermit -C app --transform 's|^data/words.txt|/data/../../x|' \
        --transform 's|^kernel|//data//.././kernel|' hermit.toml kernel.elf data/words.txt
    both_modes app.hermit
}

@test "the last of two files with one name counts" {
    skip_unless_kvm
    image_directory hello-v2
    tar -cf app.hermit -C app hermit.toml data
    tar -rf app.hermit -C app --transform 's|data/words.txt|kernel.elf|' data/words.txt
    tar -rf app.hermit -C app --transform 's|^|./|' kernel.elf
    both_modes app.hermit
}

@test "links are left out with a warning, long names are fine" {
    skip_unless_kvm
    image_directory hello-v2
    ln -s words.txt app/data/link
    name=$(printf 'n%.0s' {1..200})
    mkdir -p "app/$name/$name"
    echo x >"app/$name/$name/file"
    pack
    both_modes app.hermit
    expect_stderr_line "warning: image 'app.hermit': 1 links or special files in it are left out"
}

@test "a crash report names the functions of a kernel in an image" {
    skip_unless_kvm
    image_directory crash-v2
    configure 'app_args = ["ud2"]'
    pack
    run_uhyve app.hermit
    cp stderr image-stderr
    run_uhyve app/kernel.elf -- -- ud2
    expect_status 134
    functions=$(grep -oE '[a-z_]+\+0x[0-9a-f]+' stderr | sort -u)
    [[ -n $functions ]]
    [[ $functions == "$(grep -oE '[a-z_]+\+0x[0-9a-f]+' image-stderr | sort -u)" ]]
}

# files_of ARGUMENT...: what the guest `files` answers, booted from app.hermit.
files_of() {
    run_uhyve "${options[@]}" app.hermit -- -- "$@"
    expect_status 0
}

@test "in external mode the files of the image are there, read-only" {
    skip_unless_kvm
    options=()
    for guest in files-v1 files-v2; do
        image_directory "$guest"
        pack
        files_of 'open /data/words.txt r' 'read last 100' 'read last 100' 'open data/words.txt w' \
            'open /hermit.toml r' 'open /data/missing r' 'open /data/deep/large r' 'close last'
        expect_stdout_line '^open /data/words.txt r = 3$'
        expect_stdout_line '^read last 100 = 6.*hello'
        expect_stdout_line '^read last 100 = 0'
        expect_stdout_line '^open data/words.txt w = -[0-9]+$'
        expect_stdout_line '^open /hermit.toml r = [4-9]$'
        expect_stdout_line '^open /data/missing r = -[0-9]+$'
        expect_stdout_line '^open /data/deep/large r = [4-9]$'
        grep -q '^open /data/missing r = -2$' stdout || [[ $guest == files-v1 ]]
    done
    files_of 'stat /data/words.txt' 'open /data rd' 'list last 4096'
    expect_stdout_line '^stat /data/words.txt = .*6'
    expect_stdout_line 'words.txt'
    expect_stdout_line 'deep'
}

@test "in internal mode the guest has no files of the image" {
    skip_unless_kvm
    image_directory files-v2
    pack
    options=(--hermit-image-mode internal)
    files_of 'open /data/words.txt r' 'stat /hermit.toml'
    expect_stdout_line '^open /data/words.txt r = -2$'
    expect_stdout_line '^stat /hermit.toml = -2$'
}

@test "the directories of an image are announced, the topmost only" {
    skip_unless_kvm
    image_directory bootinfo-v2
    mkdir app/other
    echo x >app/other/file
    pack
    run_uhyve app.hermit
    expect_status 0
    expect_stdout_line '^/uhyve,mounts/mounts=(/data,/other|/other,/data)$'
    run_uhyve --hermit-image-mode internal app.hermit
    expect_status 0
    ! grep -q 'uhyve,mounts' stdout
}

@test "an image and mapped files share one tree, but no names" {
    skip_unless_kvm
    image_directory files-v2
    pack
    echo mapped >host.txt
    options=(--file-mapping host.txt:/data/host.txt)
    files_of 'open /data/host.txt r' 'read last 100' 'open /data/words.txt r' 'read last 100'
    expect_stdout_line 'mapped'
    expect_stdout_line 'hello'
    run_uhyve --file-mapping host.txt:/data/words.txt app.hermit
    expect_status 2
    expect_one_error "'data/words.txt'"
    run_uhyve --file-mapping .:/data app.hermit
    expect_status 2
    expect_one_error 'data'
}

@test "a guest may delete files of its image for this run" {
    skip_unless_kvm
    image_directory files-v2
    pack
    options=()
    files_of 'unlink /data/words.txt' 'open /data/words.txt r' 'unlink /data'
    expect_stdout_line '^unlink /data/words.txt = 0$'
    expect_stdout_line '^open /data/words.txt r = -2$'
    expect_stdout_line '^unlink /data = -[0-9]+$'
    files_of 'open /data/words.txt r'
    expect_stdout_line '^open /data/words.txt r = 3$'
}

# run_without LIBRARY IMAGE: where LIBRARY is no library.
run_without() {
    rm -rf lib
    mkdir lib
    echo damaged >"lib/$1"
    LD_LIBRARY_PATH=$PWD/lib run_uhyve "$2"
}

@test "an image needs the libraries for it, and one that is missing is named with its package" {
    image_directory hello-v2
    pack
    tar -c -f plain -C app .
    tar -c --zstd -f app.zst -C app .
    run_without libarchive.so.13 plain
    expect_status 125
    expect_one_error "image 'plain' cannot be unpacked: the library libarchive.so.13 is not there \(install the package libarchive13\)"
    run_without libz.so.1 app.hermit
    expect_status 125
    expect_one_error 'libz.so.1 is not there \(install the package zlib1g\)'
    run_without libzstd.so.1 app.zst
    expect_status 125
    expect_one_error 'libzstd.so.1 is not there \(install the package libzstd1, or pack the image with gzip\)'
}

@test "bare kernels need no library for images" {
    skip_unless_kvm
    run_without libarchive.so.13 "$(guest hello-v2)"
    expect_status 0
    run_without libz.so.1 "$(guest hello-v2)"
    expect_status 0
}
