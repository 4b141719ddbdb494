/* SPDX-License-Identifier: Apache-2.0 */
/* Words of codes for fill.cu, and what of it tests run on a CPU. A device knows format and style when it
 * compiles. */
#ifndef MP_KERNELS_DEVICE_FILL_WORDS_H
#define MP_KERNELS_DEVICE_FILL_WORDS_H

#include "cases/numbers.h"

#define MP_ANY_STYLE (-1) /* rows differ */

/* Rows of a tensor: what they are made of, and which of these rows each has the numbers of; NULL: its own. */
typedef struct mp_fill_rows_of {
    mp_numbers n;
    const mp_i64 *source;
    int style; /* of all rows, or MP_ANY_STYLE */
} mp_fill_rows_of;

/* An element, and what its row is made by. */
typedef struct mp_fill_place {
    mp_row_rule rule;
    mp_u64 row, column;
    mp_u64 source; /* of the row */
} mp_fill_place;

MP_MIX void mp_fill_begin_row(const mp_fill_rows_of *of, mp_fill_place *at) {
    at->source = of->source ? (mp_u64)of->source[at->row] : at->row;
    if (of->style == MP_ANY_STYLE) {
        at->rule = mp_rule_of_row(&of->n, at->source);
    } else {
        at->rule = of->n.rule;
        at->rule.style = of->style;
    }
}

MP_MIX mp_fill_place mp_fill_place_of(const mp_fill_rows_of *of, mp_u64 index) {
    mp_fill_place at;
    at.row = index / of->n.row_length;
    at.column = index - at.row * of->n.row_length;
    mp_fill_begin_row(of, &at);
    return at;
}

/* The next codes of a word, that of the lowest index below, and the place behind them. Behind the last row
 * there is none: what is filled up with its numbers is not written. */
MP_MIX unsigned mp_fill_word(const mp_fill_rows_of *of, mp_u64 rows, mp_fill_place *at) {
    unsigned word = 0;
    for (int bit = 0; bit < 32; bit += of->n.format.bits) {
        if (at->column == of->n.row_length) {
            at->column = 0;
            at->row += at->row + 1 < rows;
            mp_fill_begin_row(of, at);
        }
        word |= (unsigned)mp_code_in_row(&of->n, &at->rule, at->source, at->column++) << bit;
    }
    return word;
}

#endif
