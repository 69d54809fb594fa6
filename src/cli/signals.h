/*
 * SIGINT, SIGTERM and SIGHUP stop the VM; a second SIGINT or SIGTERM ends the process at once.
 * Signals are the process's, so this module has one VM and its state is global. Main thread only.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include "uhyve.h"

/* From now on stop `vm` when one of the signals arrives that were not ignored at the start. */
void signals_catch(struct uhyve_vm *vm);

/*
 * Back to the default, before the VM is destroyed. Returns the first signal that arrived, or 0.
 */
int signals_release(void);

#endif
