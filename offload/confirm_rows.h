/* SPDX-License-Identifier: Apache-2.0 */
/* Whether rows that a stage has stored are those that the device predicts. A device that takes anything for
 * equal would be believed where it says so. So a few rows are predicted by the CPU too, whose digests must be
 * those that the device has made; and these rows are looked at once more, each with one code that is another,
 * which must be found. */
#ifndef MP_OFFLOAD_CONFIRM_ROWS_H
#define MP_OFFLOAD_CONFIRM_ROWS_H

#include "offload/cross_check.h"
#include "offload/device/confirm.h"
#include "offload/handle.h"
#include "ref/predict/predict.h"

typedef struct mp_confirm_kind mp_confirm_kind;

/* What is looked at. Rows are slots or tokens. */
typedef struct mp_confirm_question {
    const mp_confirm_kind *kind;
    const void *bits;     /* mp_act_bits, mp_combine_bits or mp_quant_bits, by kind */
    const mp_tensor *got; /* what was stored */
    const int64_t *at;    /* [rows] of got: where each is; NULL: row t is row t */
    const int32_t *ids;   /* [rows], negative of those that are left out; NULL: none are */
    int64_t rows;
} mp_confirm_question;

/* A few rows of a question, and a question of these alone. */
typedef struct mp_confirm_sample {
    int64_t count, row[MP_CROSS_CHECKED]; /* of all that were looked at */
    mp_tensor by_cpu, got;                /* [count, n] */
    mp_tensor read, shared;               /* what the stage reads; of a combine, and its shared output */
    void *weights, *ids, *factors;
    int64_t at[MP_CROSS_CHECKED]; /* 0, 1, ...: a few slots lie one behind the other */
    union {
        mp_act_bits act;
        mp_combine_bits combine;
        mp_quant_bits quant;
    } bits; /* of `again` */
    mp_quant_pass pass;
    mp_confirm_question again;
} mp_confirm_sample;

/* How what a stage has stored is looked at. */
struct mp_confirm_kind {
    /* On the device: what it finds of each row, found [rows]. */
    mp_status (*compare)(mp_offload *o, const mp_confirm_question *q, mp_confirmed_row *found, mp_error *err);
    /* By the CPU, into out [rows, n]. */
    mp_status (*predict)(const mp_confirm_question *q, const mp_tensor *out, mp_error *err);
    /* What the sample's rows are made of, into s->bits. */
    mp_status (*take)(const mp_confirm_question *q, mp_confirm_sample *s, mp_error *err);
};

/* For take: rows of a sample, each of so many bytes, one behind the other; at: where they are in `from`,
 * NULL: where the sample says. NULL stays NULL. The sample's to free. */
mp_status mp_confirm_take_rows(const mp_confirm_sample *s, const void *from, const int64_t *at, size_t bytes,
                               void **to, mp_error *err);
/* For take: has rows made first, where nobody has them yet: `each` rows of t for one of the sample. */
void mp_confirm_make_rows(const mp_confirm_sample *s, const mp_tensor *t, const int64_t *at, int64_t each);

/* Whether all rows that are not left out are equal. MP_EDEVICE where the device is found wrong. */
mp_status mp_confirm_rows(mp_offload *o, const mp_confirm_question *q, bool *equal, mp_error *err);

#endif
