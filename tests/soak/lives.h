/*
 * The life of one run of the program, disturbed: by signals of every kind, for it, its process
 * group and its engine, a debugger that does not behave, input that ends, readers of its output
 * that go.
 */
#ifndef SOAK_LIVES_H
#define SOAK_LIVES_H

#include "program.h"

/*
 * One life from beginning to end, drawn from run->random; run->accel is set. False with the plan
 * and the reason in run->why.
 */
bool live(struct run *run, const char *work);

#endif
