/* SPDX-License-Identifier: Apache-2.0 */
/* The matrix language: YAML files -> a list of cases. See docs/matrix.md. */
#ifndef MOEPARITY_MATRIX_H
#define MOEPARITY_MATRIX_H

#include "moeparity/case.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_tier {
    MP_SMOKE,
    MP_CI,
    MP_FULL,
    MP_TIER_COUNT
} mp_tier; /* each tier contains the ones before it */

#define MP_MATRIX_MAX_PAIRS 15 /* of one case: with another subject (--against) a verdict has room for 16 */
#define MP_MATRIX_MAX_AFTERS 8 /* of one case */

/* One case of a matrix, with the variants of it that must give the same bits, and the parts of it whose
 * outputs must sum to its own. */
typedef struct mp_matrix_row {
    mp_case c;
    mp_tier tier;
    char *group;      /* name of the group it came from */
    mp_case *pairs;   /* variants that must agree bit for bit with c, or parts of it
                         (mp_case_validate_pair), MP_MATRIX_MAX_PAIRS at most */
    char **pair_text; /* their override texts, e.g. "path=runner" */
    size_t pair_count;
    mp_case *afters;   /* cases that run before c on the same buffers (mp_case_validate_after), each in turn,
                          MP_MATRIX_MAX_AFTERS at most */
    char **after_text; /* their override texts, e.g. "M=200 seed=1" */
    size_t after_count;
    char *file; /* its tensors are those of this file, and are judged as they are; NULL: it is executed */
} mp_matrix_row;

typedef struct mp_matrix {
    mp_matrix_row *rows;
    size_t count;
} mp_matrix;

/* Appends the cases of a file to *m (which starts zeroed); duplicates (the same case) are dropped: pairs and
 * afters are merged, the lower tier wins. On error *m is unchanged and the text begins with `file:line:`; but
 * where pairs or afters become too many by merging, with the file and the case, and *m holds the rows with as
 * many of them as fit. */
mp_status mp_matrix_load(mp_matrix *m, const char *path, mp_error *err);
/* Appends one case given as text (the repro form), with optional pair override texts. */
mp_status mp_matrix_add(mp_matrix *m, const char *case_text, const char *const *pairs, size_t pair_count,
                        mp_error *err);
/* Has the case of this text, which is in the matrix, run after another one as well, whose override text is
 * given. */
mp_status mp_matrix_add_after(mp_matrix *m, const char *case_text, const char *after, mp_error *err);
/* Keeps rows of tier <= `tier` that match `expr` (NULL: all). MP_EINPUT when nothing is left. */
mp_status mp_matrix_select(mp_matrix *m, mp_tier tier, const char *expr, mp_error *err);
void mp_matrix_free(mp_matrix *m);
const char *mp_tier_name(mp_tier tier);
bool mp_tier_parse(const char *text, mp_tier *tier);

#ifdef __cplusplus
}
#endif

#endif
