/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/confirm_rows.h"

#include "offload/confirm.h"

#include <stdlib.h>
#include <string.h>

mp_status mp_confirm_take_rows(const mp_confirm_sample *s, const void *from, const int64_t *at, size_t bytes,
                               void **to, mp_error *err) {
    if (!from) return MP_OK;
    *to = malloc((size_t)s->count * bytes);
    if (!*to) return mp_fail(err, MP_EMEMORY, "no memory for rows of %zu bytes", bytes);
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t row = at ? at[s->row[i]] : s->row[i];
        memcpy((char *)*to + (size_t)i * bytes, (const char *)from + (size_t)row * bytes, bytes);
    }
    return MP_OK;
}

void mp_confirm_make_rows(const mp_confirm_sample *s, const mp_tensor *t, const int64_t *at, int64_t each) {
    for (int64_t i = 0; i < s->count; i++) {
        mp_tensor here = *t;
        here.data = mp_tensor_row(t, (at ? at[s->row[i]] : s->row[i]) * each);
        mp_tensor_make_rows(&here, NULL, each);
    }
}

static void free_sample(mp_confirm_sample *s) {
    free(s->by_cpu.data);
    free(s->got.data);
    free(s->read.data);
    free(s->shared.data);
    free(s->weights);
    free(s->ids);
    free(s->factors);
}

/* Not left out. */
static bool is_there(const void *question, int64_t row) {
    const mp_confirm_question *q = question;
    return !((q->ids && q->ids[row] < 0) || (q->at && q->at[row] < 0));
}

/* All rows that are not left out have n equal codes. */
static bool all_equal(const mp_confirm_question *q, const mp_confirmed_row *found, int64_t n) {
    for (int64_t r = 0; r < q->rows; r++)
        if (is_there(q, r) && (found[r].equal != n || found[r].predicted != found[r].got)) return false;
    return true;
}

/* Rows to look at again; none where all are left out. */
static mp_status choose(const mp_offload *o, const mp_confirm_question *q, mp_confirm_sample *s,
                        mp_error *err) {
    const int64_t n = mp_tensor_row_length(q->got);
    s->count =
        mp_cross_check_choose_those(q->rows, is_there, q, (uint64_t)o->predicted, MP_CROSS_CHECKED, s->row);
    for (int64_t i = 0; i < s->count; i++) s->at[i] = i;
    s->got = s->by_cpu = mp_tensor_shape(q->got->dtype, 2, s->count, n, 1);
    s->again = (mp_confirm_question){.kind = q->kind, .bits = &s->bits, .got = &s->got, .rows = s->count};
    mp_status status = MP_OK;
    if (s->count == 0) goto out;
    s->by_cpu.data = calloc(1, mp_tensor_bytes(&s->by_cpu));
    if (!s->by_cpu.data) status = mp_fail(err, MP_EMEMORY, "no memory for rows by the CPU");
    MP_DO(status);
    MP_DO(mp_confirm_take_rows(s, q->got->data, q->at, mp_tensor_row_bytes(q->got), &s->got.data, err));
    MP_DO(q->kind->take(q, s, err));
out:
    return status;
}

static mp_status differs(const mp_offload *o, const mp_confirm_sample *s, int64_t i,
                         const mp_confirmed_row *found, mp_error *err) {
    return mp_fail(err, MP_EDEVICE,
                   "bits looked at on %s: of row %lld %lld are equal, their digests %llX and, as stored, "
                   "%llX; by the CPU they are %llX and %llX",
                   mp_cuda_device_name(o->cuda), (long long)s->row[i], (long long)found->equal,
                   (unsigned long long)found->predicted, (unsigned long long)found->got,
                   (unsigned long long)mp_confirmed_digest(&s->by_cpu, i),
                   (unsigned long long)mp_confirmed_digest(&s->got, i));
}

/* What the device has found of these rows, of which so many elements are equal; at[i]: which of `found` it
 * is, NULL: the i-th. */
static mp_status check(const mp_offload *o, const mp_confirm_sample *s, const mp_confirmed_row *found,
                       const int64_t *at, int64_t equal, mp_error *err) {
    for (int64_t i = 0; i < s->count; i++) {
        const mp_confirmed_row *f = &found[at ? at[i] : i];
        if (f->equal != equal || f->predicted != mp_confirmed_digest(&s->by_cpu, i) ||
            f->got != mp_confirmed_digest(&s->got, i))
            return differs(o, s, i, f, err);
    }
    return MP_OK;
}

/* Makes one code of each row another. */
static void spoil(const mp_confirm_sample *s) {
    const int64_t n = mp_tensor_row_length(&s->got);
    for (int64_t i = 0; i < s->count; i++) {
        const int64_t at = i * n + (int64_t)(mp_bits((mp_u64)s->row[i], 0) % (mp_u64)n);
        mp_put_code(s->got.dtype, s->got.data, at, mp_code_at(s->got.dtype, s->got.data, at) ^ 1);
    }
}

mp_status mp_confirm_rows(mp_offload *o, const mp_confirm_question *q, bool *equal, mp_error *err) {
    const int64_t n = mp_tensor_row_length(q->got);
    mp_confirmed_row *found = malloc((size_t)q->rows * sizeof *found), again[MP_CROSS_CHECKED];
    mp_confirm_sample s = {0};
    mp_status status =
        found ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for what is equal of %lld", (long long)q->rows);
    MP_DO(status);
    MP_DO(q->kind->compare(o, q, found, err));
    *equal = all_equal(q, found, n);
    if (!*equal) goto out;
    MP_DO(choose(o, q, &s, err));
    o->predicted++;
    if (s.count == 0) goto out;
    MP_DO(q->kind->predict(&s.again, &s.by_cpu, err));
    MP_DO(check(o, &s, found, s.row, n, err));
    spoil(&s);
    MP_DO(q->kind->compare(o, &s.again, again, err));
    MP_DO(check(o, &s, again, NULL, n - 1, err));
out:
    free_sample(&s);
    free(found);
    return status;
}
