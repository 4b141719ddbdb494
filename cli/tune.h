/* SPDX-License-Identifier: Apache-2.0 */
/* What the tune commands that prove a file have in common: their options, and what is told meanwhile. */
#ifndef MP_CLI_TUNE_H
#define MP_CLI_TUNE_H

#include "cli/args.h"
#include "harness/tune/prove/prove.h"

/* The request that the options make for a file; suite.settings.subject "auto" becomes cuda: a prediction
 * proves no tile. */
mp_tune_request mp_cli_tune_request(const mp_args *args, const char *path);
/* Proves as requested, and tells rows that fail as run does. */
mp_status mp_cli_tune_prove(const mp_args *args, mp_tune_request *request, mp_tune_result *result,
                            mp_run_info *info, mp_error *err);
/* The standard report of every row that was judged; path NULL: none. */
mp_status mp_cli_tune_report(const char *path, const mp_tune_result *result, const mp_run_info *info,
                             mp_error *err);

#endif
