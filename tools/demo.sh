#!/usr/bin/env bash
# Boot the demo, in the way that works on this machine: tools/demo.sh BUILD
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
build=$1
cpus=$(nproc)
((cpus <= 4)) || cpus=4
. "$top/tools/kvm.bash"

# Show the command line and run it.
run() {
    printf '$ %s\n\n' "$*"
    "$@"
}

problem=$(kvm_problem)
if [[ -z $problem ]]; then
    guest=demo-v2
    kvm_is_native || guest=demo-v2-gpr
    cd "$build"
    run src/uhyve -c "$cpus" "guests/$guest" -- -- Hello from the command line
    exit
fi
echo "The demo cannot use KVM here: $problem."
echo "So it runs inside an emulated machine that has KVM, which takes some seconds."
"$top/tools/deps.sh" nested
command="uhyve -c 2 guests/demo-v2 -- -- Hello from the command line"
run "$top/tests/nested/run" -b "$build" -m two -c "$command"
