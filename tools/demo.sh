#!/usr/bin/env bash
# Boot the demo: tools/demo.sh BUILD
set -euo pipefail

build=$1
cpus=$(nproc)
((cpus <= 4)) || cpus=4

cd "$build"
command=(src/uhyve -c "$cpus" guests/demo-v2 -- -- Hello from the command line)
printf '$ %s\n\n' "${command[*]}"
exec "${command[@]}"
