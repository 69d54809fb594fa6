# What KVM can do on this machine, for scripts.

# kvm_problem: the reason why KVM cannot be used here, or nothing.
kvm_problem() {
    if [[ ! -e /dev/kvm ]]; then
        echo "there is no /dev/kvm on this machine"
    elif [[ ! -r /dev/kvm || ! -w /dev/kvm ]]; then
        echo "no permission to use /dev/kvm (become a member of its group)"
    fi
}

# kvm_is_native: whether the CPU has what KVM needs to run ring 0 natively. A /dev/kvm without it
# emulates ring 0 instruction by instruction, and knows no SSE: it can run nothing but guests made
# of general-register instructions (*-gpr).
kvm_is_native() {
    grep -Eqw 'vmx|svm' /proc/cpuinfo
}
