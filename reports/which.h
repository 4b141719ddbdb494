/* SPDX-License-Identifier: Apache-2.0 */
/* What loaders pick -> terminal, JSON. */
#ifndef MP_REPORTS_WHICH_H
#define MP_REPORTS_WHICH_H

#include "harness/tune/which/which.h"

#include <stdio.h>

/* What one loader answers, for people; and what `count` of them do, as JSON (MP_EIO, MP_EMEMORY). */
void mp_report_which_text(FILE *out, const mp_which_query *query, const mp_which *which);
mp_status mp_report_which_json(const char *path, const mp_which_query *query, const mp_which *which,
                               size_t count, mp_error *err);

/* The entry that runs, as a tile; down's BLOCK_SIZE_M is that of up, and *overridden what its own would have
 * been; 0: no other. row NULL: the default. */
void mp_which_tile(const mp_which_query *query, const mp_which *which, const mp_which_choice *choice,
                   bool down, int64_t M, mp_text *text, int64_t *overridden);

#endif
