#!/usr/bin/env bash
# Prove that functions which read what guests, images and debuggers send cannot go wrong:
#
#   tools/prove.sh [NAME...]    proofs: files of prove/ without their .c (default: all)
#
# One TAP test case for each proof, with the bounds that it holds within; what is not proved is shown
# below it. Logs are in build/prove. The first comment of a proof says what to do:
#
#   prove: FUNCTION...    that they keep their contracts (with WP)
#   prove: lemmas         the general facts that provers need a hint for
#   follow: FUNCTION      all values through this program (with Eva)
#   within: BOUNDS
set -uo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top" || exit 1
logs=$top/build/prove
failed=0
mkdir -p "$logs"

# Which provers there are is asked once. Frama-C reads the same variable.
export WHY3CONFIG=$logs/why3.conf
[[ -s $WHY3CONFIG ]] || why3 config detect >"$logs/why3.log" 2>&1

cpp_options="-Iinclude -Isrc -Iprove -D_GNU_SOURCE"
cpp_options+=" -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu"

# Nothing may be assumed of a function that nobody has said.
frama_c=(timeout 300 frama-c -machdep gcc_x86_64 -no-autoload-plugins -load-module
    wp,rtegen,eva,scope,variadic -kernel-warn-key
    typing:implicit-function-declaration=abort,annot:missing-spec=abort
    -cpp-extra-args="$cpp_options")

# field KEY FILE: what the first comment says behind "KEY:", up to the next key.
field() {
    awk -v key="$1:" '
        /\*\// { exit }
        $2 ~ /^[a-z]+:$/ { found = $2 == key; $2 = "" }
        found { sub(/^ *\* */, ""); text = text " " $0 }
        END { gsub(/^ +| +$/, "", text); gsub(/ +/, " ", text); print text }' "$2"
}

# wp FILE OPTION...: every goal is proved. What one prover does not see at once is left to another,
# and then to the first with more time; two at the same goal would both go on to the end.
wp() {
    "${frama_c[@]}" "$1" -wp -wp-rte -wp-model Typed+Cast -wp-literals -wp-par 2 \
        -wp-prover cvc4 -wp-timeout 2 "${@:2}" \
        -then -wp -wp-prover z3 -wp-timeout 10 "${@:2}" \
        -then -wp -wp-prover cvc4 -wp-timeout 10 "${@:2}" || return
    awk '/^\[wp\] [0-9]+ goals? scheduled$/ && !goals { goals = $2 }
        match($0, / Goal [^ ]+ : Valid/) { valid[substr($0, RSTART, RLENGTH)] = 1 }
        END { exit !(goals > 0 && length(valid) == goals) }' "$log"
}

# contracts FILE FUNCTION...: all were looked at, and keep their contracts.
contracts() {
    local function list
    list=$(IFS=, && echo "${*:2}")
    wp "$1" -wp-fct "$list" || return
    for function in "${@:2}"; do
        grep -q "^\[rte:annot\] annotating function $function$" "$log" || {
            echo "$function was not looked at"
            return 1
        }
    done
}

# program FILE FUNCTION: nothing goes wrong for any value, and the end is reached.
program() {
    "${frama_c[@]}" "$1" -main "$2" -eva -eva-precision 3 \
        -eva-split-return auto -eva-no-print || return
    grep -q '^  0 alarms generated' "$log" &&
        grep -q '^  100% of the logical properties reached have been proven' "$log" &&
        ! grep -q 'NON TERMINATING' "$log"
}

prove() {
    local functions program
    functions=$(field prove "$1")
    # shellcheck disable=SC2086 # a list of functions
    case $functions in
    '') ;;
    lemmas) wp "$1" -wp-prop=@lemma || return ;;
    *) contracts "$1" $functions || return ;;
    esac
    program=$(field follow "$1")
    [[ -z $program ]] || program "$1" "$program"
}

# What a log says of the goals that are not proved, or of the alarms, or its end.
explain() {
    grep -E -A 6 'eva:alarm|\] \[Failed\]|was not looked at' "$1" || tail -n 15 "$1"
}

files=("${@/#/prove/}")
files=("${files[@]/%/.c}")
[[ $# -gt 0 ]] || files=(prove/*.c)
rm -f "$logs"/*.status
echo "1..${#files[@]}"

# prove_next FILE: in the background, with at most as many others as there are processors.
prove_next() {
    local name log
    name=$(basename "$1" .c)
    log=$logs/$name.log
    while (($(jobs -rp | wc -l) >= $(nproc))); do
        wait -n
    done
    : >"$log"
    { prove "$1" >>"$log" 2>&1 && echo 0 || echo 1; } >"$logs/$name.status" &
}

# The longest files take longest: started last they would leave a processor idle.
while read -r file; do
    prove_next "$file"
done < <(ls -S "${files[@]}")
wait
for i in "${!files[@]}"; do
    name=$(basename "${files[i]}" .c)
    text="$name, within: $(field within "${files[i]}")"
    if [[ $(cat "$logs/$name.status") == 0 ]]; then
        echo "ok $((i + 1)) - $text"
    else
        echo "not ok $((i + 1)) - $text"
        explain "$logs/$name.log" | sed 's/^/# /'
        failed=1
    fi
done
exit "$failed"
