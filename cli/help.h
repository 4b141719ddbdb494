/* SPDX-License-Identifier: Apache-2.0 */
/* What the tables of options.h say, as text for people, a manual page, and completions for shells. */
#ifndef MP_CLI_HELP_H
#define MP_CLI_HELP_H

#include "cli/options.h"
#include "moeparity/status.h"

#include <stdio.h>

/* Every command with its summary, and the exit codes. */
void mp_help_overview(FILE *out);
/* How the command is called and what its options are: a line each, or (`full`) all there is to know. */
void mp_help_command(FILE *out, mp_command command, bool full);
/* Help on the command of these words: all commands that begin with them, everything for no word. MP_EINPUT
 * where there is none. */
mp_status mp_help_words(FILE *out, char *const *words, int count, bool full, mp_error *err);

/* The manual page moeparity(1), in the man macros of troff. */
void mp_help_manual(FILE *out, const char *version);
/* Scripts that complete commands, options, their values and file names. */
void mp_help_bash(FILE *out);
void mp_help_zsh(FILE *out);

#endif
