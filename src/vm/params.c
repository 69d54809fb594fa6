/*
 * The parameters of a virtual machine: what they are by default, and what they may be.
 */
#include <errno.h>

#include "util/error.h"
#include "util/text.h"
#include "vm/vm.h"

#define HOST_CPU_MAX 65535 /* more than any Linux supports */

void uhyve_params_init(struct uhyve_params *params)
{
    *params = (struct uhyve_params){
        .image_limit = UHYVE_IMAGE_LIMIT,
        .memory_size = UHYVE_MEMORY_DEFAULT,
        .cpu_count = 1,
        .accel = UHYVE_ACCEL_AUTO,
        .aslr = true,
        .limit_files = UHYVE_LIMIT_FILES_DEFAULT,
        .limit_temp = UHYVE_LIMIT_TEMP_DEFAULT,
        .stdin_fd = -1,
        .stdout_fd = -1,
        .log_fd = -1,
        .output_fd = -1,
        .trace_fd = -1,
        .crash_dump_fd = -1,
        .profile_rate = 1000,
        .profile_fd = -1,
        .message_level = UHYVE_LEVEL_WARN,
    };
}

int vm_check_params(const struct uhyve_params *params, struct uhyve_error *error)
{
    char text[32];

    if (!params->image)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL, "no image was given");
    if (params->memory_size < UHYVE_MEMORY_MIN)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%s are not enough guest memory: it must be at least 16 MiB",
                         text_format_size(text, sizeof text, params->memory_size));
    if (params->memory_size % UHYVE_MEMORY_ALIGN)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%llu bytes of guest memory are not a multiple of 2 MiB",
                         (unsigned long long)params->memory_size);
    if (params->cpu_count < 1 || params->cpu_count > UHYVE_CPUS_MAX)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%u is not a possible number of CPUs: use 1 to %d", params->cpu_count,
                         UHYVE_CPUS_MAX);
    if (params->affinity_count && params->affinity_count != params->cpu_count)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "the affinity lists %zu host CPUs, but the guest has %u CPUs",
                         params->affinity_count, params->cpu_count);
    for (size_t i = 0; i < params->affinity_count; i++)
        if (params->affinity[i] > HOST_CPU_MAX)
            return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                             "host CPU %u of the affinity does not exist", params->affinity[i]);
    return 0;
}
