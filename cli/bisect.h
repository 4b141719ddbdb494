/* SPDX-License-Identifier: Apache-2.0 */
/* What `bisect case` and `bisect set` have in common: where their rows come from. */
#ifndef MP_CLI_BISECT_H
#define MP_CLI_BISECT_H

#include "cli/args.h"
#include "moeparity/settings.h"
#include "moeparity/verdict.h"

#include <jansson.h>

typedef struct mp_cli_bisected {
    mp_matrix rows;
    mp_settings settings; /* those of the line go before those of a report */
    mp_args line;         /* of the repro in a report */
    char **words;         /* that it consists of */
    size_t word_count;
} mp_cli_bisected;

/* The rows of --case or of matrix files; or those of the line that repeats a failure of --report, chosen
 * by --index or --name, else the first. MP_EINPUT, MP_EIO. Free with mp_cli_bisected_free, after an error
 * too. */
mp_status mp_cli_bisect_rows(const mp_args *args, mp_cli_bisected *what, mp_error *err);
void mp_cli_bisected_free(mp_cli_bisected *what);

/* Runs the line that a search has ended with, as somebody would who has got it, and prints it with what
 * came of it; *again: whether it ended as the outcome asks for. */
mp_status mp_cli_bisect_repeat(const char *line, mp_outcome outcome, size_t rows, double timeout, bool *again,
                               mp_error *err);

/* Writes {"format": "moeparity bisect WORD", "version": 1, "run": ..., and what `found` holds} to
 * --json, if it is given; takes the reference to found. */
mp_status mp_cli_bisect_json(const mp_args *args, const char *word, const mp_run_info *info, json_t *found,
                             mp_error *err);

#endif
