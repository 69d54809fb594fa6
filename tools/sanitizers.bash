# How programs of sanitizer builds are to behave in tests: a finding ends the program, with a status
# that no test expects. What the user has set stays. Expects $top, the top of the source tree.

export ASAN_OPTIONS=${ASAN_OPTIONS:-exitcode=86:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1:exitcode=86}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1:exitcode=86:suppressions=$top/tests/tsan.suppressions}
