/*
 * The kinds of runs that the soak tests mix: which guest, with which options, how it is disturbed
 * meanwhile, and exactly what must come out.
 */
#ifndef SOAK_KINDS_H
#define SOAK_KINDS_H

#include "program.h"

struct run_kind {
    const char *name;
    /* Fill the command line after "uhyve --accel X -c N -m SIZE", and what is expected. */
    void (*prepare)(struct run *run);
    void (*meanwhile)(struct run *run); /* NULL: nothing to do */
    /* False, with `why` filled, if something is wrong after the end. NULL: nothing more to check.
     */
    bool (*check)(struct run *run);
};

extern const struct run_kind run_kinds[];
extern const unsigned run_kind_count;
extern const struct run_kind *const run_kind_with_keeper;

/* What a kill is to hit. */
enum victim { VICTIM_NONE, VICTIM_VMM, VICTIM_ENGINE, VICTIM_KEEPER, VICTIM_COUNT };
extern const char *const victim_names[];

/*
 * One whole run in a new directory below `work`, with a kill after `delay` microseconds if there is
 * a victim. False with the reason in run->why; *hit tells whether the kill found its victim.
 */
bool run_whole(struct run *run, const char *work, enum victim victim, uint64_t delay, bool *hit);

/* Choose kind and CPUs from run->random; `most` CPUs. */
void run_choose(struct run *run, unsigned most);

#endif
