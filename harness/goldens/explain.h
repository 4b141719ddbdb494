/* SPDX-License-Identifier: Apache-2.0 */
/* What may explain that a tensor of a case has other bits than a golden holds. */
#ifndef MP_HARNESS_GOLDENS_EXPLAIN_H
#define MP_HARNESS_GOLDENS_EXPLAIN_H

#include "base/text.h"
#include "harness/goldens/diff.h"

/* Reasons, as bits. */
enum {
    MP_BY_FILL = 1,     /* the inputs are filled anew */
    MP_BY_CONTRACT = 2, /* what the contract says of the tensor's stage */
    MP_BY_TILES = 4,    /* the tiles, where its stage's bits, or the place of its rows, depend on them */
    MP_BY_READING = 8   /* its stage reads a tensor that one of these has changed */
};

/* reason[id]: those of the tensor, whether it differs or not; 0: nothing may have changed it. The texts of
 * both contracts tell which stages they speak of; where only their digests differ, which field has changed is
 * not known, and it may be any stage's. Sums of a fixed order do not depend on the tile, and the order of
 * align is in nobody's bits. */
void mp_explain(const mp_case_diff *d, bool filled_anew, unsigned reason[MP_TENSOR_COUNT]);

/* Adds the reasons in words. */
void mp_reasons_text(unsigned reasons, mp_text *text);

#endif
