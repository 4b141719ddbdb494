/* SPDX-License-Identifier: Apache-2.0 */
/* Words of codes for fill.cu, and what of it tests run on a CPU. A device knows format and style when it
 * compiles. */
#ifndef MP_KERNELS_DEVICE_FILL_WORDS_H
#define MP_KERNELS_DEVICE_FILL_WORDS_H

#include "cases/numbers.h"

#define MP_ANY_STYLE (-1) /* rows differ */

/* An element, and what its row is made by. */
typedef struct mp_fill_place {
    mp_row_rule rule;
    mp_u64 row, column;
} mp_fill_place;

MP_MIX mp_row_rule mp_fill_rule(const mp_numbers *n, int style, mp_u64 row) {
    mp_row_rule rule = n->rule;
    if (style == MP_ANY_STYLE) return mp_rule_of_row(n, row);
    rule.style = style;
    return rule;
}

MP_MIX mp_fill_place mp_fill_place_of(const mp_numbers *n, int style, mp_u64 index) {
    mp_fill_place at;
    at.row = index / n->row_length;
    at.column = index - at.row * n->row_length;
    at.rule = mp_fill_rule(n, style, at.row);
    return at;
}

/* The next codes of a word, that of the lowest index below, and the place behind them. */
MP_MIX unsigned mp_fill_word(const mp_numbers *n, int style, mp_fill_place *at) {
    unsigned word = 0;
    for (int bit = 0; bit < 32; bit += n->format.bits) {
        if (at->column == n->row_length) {
            at->column = 0;
            at->rule = mp_fill_rule(n, style, ++at->row);
        }
        word |= (unsigned)mp_code_in_row(n, &at->rule, at->row, at->column++) << bit;
    }
    return word;
}

#endif
