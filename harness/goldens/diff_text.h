/* SPDX-License-Identifier: Apache-2.0 */
/* What a comparison of two goldens is told in: lines, and JSON. */
#ifndef MP_HARNESS_GOLDENS_DIFF_TEXT_H
#define MP_HARNESS_GOLDENS_DIFF_TEXT_H

#include "harness/goldens/diff.h"

#include <jansson.h>

/* A line that can be printed, without its end. */
typedef void mp_diff_line(void *ctx, const char *line);

/* A line for everything in which the cases differ, each beginning with the name of the case; a and b are the
 * paths of the files. MP_EMEMORY. */
mp_status mp_case_diff_text(const mp_case_diff *d, const char *a, const char *b, mp_diff_line *line,
                            void *ctx, mp_error *err);
/* Counts: by stage, where any tensor differs, and of cases. */
mp_status mp_diff_counts_text(const mp_diff_counts *counts, const char *a, const char *b, mp_diff_line *line,
                              void *ctx, mp_error *err);
/* How to read the lines of a tensor. */
extern const char *const mp_diff_legend;

/* New references; NULL: no memory. */
json_t *mp_case_diff_json(const mp_case_diff *d);
json_t *mp_diff_counts_json(const mp_diff_counts *counts);
json_t *mp_golden_json(const mp_golden *golden); /* path, root, provenance */

#endif
