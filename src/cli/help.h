/*
 * What --help and --version print.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include "util/text.h"

/* Add the help, at most 80 columns wide, made from the option table. */
void help_format(struct text *text);

#endif
