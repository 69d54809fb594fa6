/*
 * Statistics of a run, for people (spec/cli.md section 7, with the times of the start in addition)
 * and for programs.
 */
#ifndef CLI_STATS_H
#define CLI_STATS_H

#include "uhyve.h"
#include "util/text.h"

/* Tables. Rows that counted nothing are left out. */
void stats_format_text(struct text *text, const struct uhyve_stats *stats);

/* One JSON object in one line. exit_code is null if the guest did not end by itself. */
void stats_format_json(struct text *text, const struct uhyve_stats *stats,
                       const struct uhyve_result *result);

/* "12.345678ms": the largest unit that leaves at least 1, without trailing zeros. */
void stats_add_duration(struct text *text, uint64_t nanoseconds);

#endif
