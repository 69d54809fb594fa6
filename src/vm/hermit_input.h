/*
 * What a Hermit image wants for its guest, and what the parameters of the VM say
 * (spec/files.md section 6.3): arguments, environment, and requirements.
 */
#ifndef VM_HERMIT_INPUT_H
#define VM_HERMIT_INPUT_H

#include "image/hermit_config.h"
#include "util/log.h"

/* Lists that are put together of both; the strings are the image's or the caller's. */
struct hermit_input {
    const char **args; /* kernel's and application's */
    const char **env;
};

/*
 * Let the parameters win, else take what the image says: *params then refers to `input` and
 * `config`. Returns 0, or -errno with *error filled: status 126 if the guest would get less memory
 * or fewer CPUs than the image requires. hermit_input_free releases it and may be called after a
 * failure or on a zeroed structure.
 */
int hermit_input_apply(struct hermit_input *input, const struct hermit_config *config,
                       struct uhyve_params *params, const struct log *log,
                       struct uhyve_error *error);
void hermit_input_free(struct hermit_input *input);

#endif
