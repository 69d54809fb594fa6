#include "accel/accel.h"

bool accel_debug_is_valid(const struct accel_debug *debug)
{
    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        const struct accel_hardware_breakpoint *slot = &debug->slot[i];
        bool size_exists = slot->size == 1 || slot->size == 2 || slot->size == 4 || slot->size == 8;
        switch (slot->kind) {
        case ACCEL_BREAK_NONE:
            continue;
        case ACCEL_BREAK_EXECUTE:
            if (slot->size != 1)
                return false;
            break;
        case ACCEL_BREAK_WRITE:
        case ACCEL_BREAK_ACCESS:
            if (!size_exists || slot->address % slot->size)
                return false;
            break;
        default:
            return false;
        }
    }
    return true;
}
