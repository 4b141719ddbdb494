/* SPDX-License-Identifier: Apache-2.0 */
/* --strict: a question that was asked and not answered is a failure. */
#ifndef MP_HARNESS_STRICT_H
#define MP_HARNESS_STRICT_H

#include "moeparity/run_case.h"

/* The checks that were asked for, bit c for check c: by the options (a golden that need hold only some cases
 * is none, one run has nothing to repeat), by the pairs of the row, and by what the subject offers for this
 * case: bound and rms where there are numbers, integer where align's tensors are shown, bits where they are
 * required, repeat where the order of additions is fixed, permutation and batch where they say anything. */
unsigned mp_strict_asked(const mp_matrix_row *row, const mp_run_options *options, const mp_offer *offer);

/* Turns a PASS into a FAIL where a check of `asked` was not judged, or a pair or another subject was not
 * compared, and a SKIP into a FAIL. Every failure says why it was not judged. A verdict that is no PASS keeps
 * its reason. bound, rms and nan are not asked for where every stage was looked at and has no number. */
void mp_strict_apply(mp_verdict *v, unsigned asked);

#endif
