/*
 * The facts about terminated strings that other proofs are given.
 *
 * prove: lemmas
 * within: any string
 */
#include "prove.h"
