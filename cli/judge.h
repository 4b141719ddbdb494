/* SPDX-License-Identifier: Apache-2.0 */
/* What `run` and `golden verify` have in common: a matrix of cases, judged and reported. */
#ifndef MP_CLI_JUDGE_H
#define MP_CLI_JUDGE_H

#include "cli/args.h"
#include "moeparity/suite.h"

/* Judges the matrix under the options of the line, prints rows and summary, writes the reports, and returns
 * the exit code. `golden` is the file to compare with (NULL: none), which with `required` must hold what it
 * is compared with. `sources` are the files that the cases come from: no report may replace them. */
int mp_cli_judge(const mp_args *args, const mp_matrix *matrix, const char *golden, bool required,
                 const char *const *sources, size_t source_count);

#endif
