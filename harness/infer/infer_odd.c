/* SPDX-License-Identifier: Apache-2.0 */
/* Of the activation: what a clamp makes of a NaN, and whether the factor of act(gate) is up or up + 0. Both
 * show in the class of a result (NaN, zero, a number) and in its sign, whatever the functions and roundings
 * are, so that float64 predicts them. */
#include "harness/infer/infer_stage.h"
#include "ref/activation.h"

#include <math.h>
#include <stdio.h>

bool mp_act_has_odd(const mp_case *c, mp_odd odd) {
    if (odd == MP_ODD_NAN) return mp_act_clamps(c->act);
    return odd == MP_ODD_ZERO && c->gated && c->act != MP_SWIGLU_OAI; /* its factor is up + 1 */
}

void mp_act_operands(const mp_infer_run *r, int64_t row, int64_t n, double *gate, double *up) {
    const mp_tensor *cache1 = mp_as_read(r->t, MP_CACHE1);
    const int64_t at = row * mp_tensor_row_length(cache1);
    *gate = mp_decode(cache1->dtype, cache1->data, at + mp_gate_column(r->c, n));
    *up = r->c->gated ? mp_decode(cache1->dtype, cache1->data, at + mp_up_column(r->c, n)) : 1;
}

mp_odd mp_act_odd(const mp_case *c, double gate, double up) {
    const bool nan = mp_act_has_odd(c, MP_ODD_NAN) && (isnan(gate) || (c->gated && isnan(up))),
               zero = mp_act_has_odd(c, MP_ODD_ZERO) && up == 0 && signbit(up);
    if (nan && zero) return MP_ODD_BOTH;
    return nan ? MP_ODD_NAN : zero ? MP_ODD_ZERO : MP_ODD_NOT;
}

void mp_act_odd_pairs(double (*pair)[2]) {
    static const double other[] = {0.5, -0.5, 1, -1, 3, -3, 20, -20};
    enum { OTHERS = sizeof other / sizeof *other };
    _Static_assert(MP_ODD_PAIRS % (4 * OTHERS) == 0, "each of them as often");
    for (int i = 0; i < MP_ODD_PAIRS; i++) {
        const double v = other[i / 4 % OTHERS];
        const double odd[][2] = {{(double)NAN, v}, {v, (double)NAN}, {v, -0.0}, {(double)NAN, (double)NAN}};
        memcpy(pair[i], odd[i % 4], sizeof *pair);
    }
}

/* ---- the questions ---- */

/* A prediction of one kind of elements. */
typedef struct rule {
    mp_odd odd;
    int value; /* of the contract's field: a mp_clamp_nan, or whether 0 is added */
} rule;

static bool same_class(double got, double expected) {
    if (isnan(got) || isnan(expected)) return isnan(got) && isnan(expected);
    return signbit(got) == signbit(expected) && (expected != 0 || got == 0);
}

/* Whether the subject's result is what the rule makes of gate and up; *expected: that. */
static bool is_kept_by(const rule *how, const mp_case *c, double gate, double up, double got,
                       double *expected) {
    if (how->odd == MP_ODD_ZERO) {
        *expected = mp_activate(c, gate, how->value ? up + 0.0 : up, NULL);
        return same_class(got, *expected);
    }
    *expected = how->value == MP_CLAMP_NAN_KEPT
                    ? (double)NAN
                    : mp_activate(c, mp_clamped_nan(gate), mp_clamped_nan(up), NULL);
    return same_class(got, *expected) || (how->value == MP_CLAMP_NAN_ANY && isnan(got));
}

/* How many elements there are of the kind, and how many of them are not what the rule makes of them. */
static mp_tally_rows tally_of(const mp_infer_run *r, const rule *how) {
    const mp_case *c = r->c;
    const mp_tensor *cache2 = &r->t[MP_CACHE2];
    const int32_t *ids = r->t[MP_TOPK_IDS].data;
    mp_tally_rows tally = {0};
    for (int64_t slot = 0; slot < mp_case_slots(c); slot++) {
        const int64_t row = r->map.cache_row[slot];
        for (int64_t n = 0; ids[slot] >= 0 && row >= 0 && n < c->N; n++) {
            double gate, up, expected;
            mp_act_operands(r, row, n, &gate, &up);
            if (mp_act_odd(c, gate, up) != how->odd) continue;
            tally.compared++;
            const double got = mp_decode(cache2->dtype, cache2->data, row * c->N + n);
            if (is_kept_by(how, c, gate, up, got, &expected) || tally.differing++ > 0) continue;
            tally.first_row = slot;
            tally.first_column = n;
            tally.got = mp_encode_code(cache2->dtype, got);
            tally.expected = mp_encode_code(cache2->dtype, expected);
        }
    }
    return tally;
}

/* Every value that the contract's field may have. */
static mp_status ask_field(const mp_infer_run *r, mp_odd odd, const char *question_name, mp_error *err) {
    static const char *const axes[] = {"value", NULL};
    if (!mp_act_has_odd(r->c, odd)) return MP_OK;
    const bool nan = odd == MP_ODD_NAN;
    if (tally_of(r, &(rule){odd, 0}).compared == 0) return MP_OK;
    const int question = mp_ask(r->evidence, MP_ACT, question_name, axes);
    if (question < 0) return mp_fail(err, MP_EMEMORY, "infer: no memory");
    for (int i = 0; i < (nan ? MP_CLAMP_NAN_COUNT : 2); i++) {
        mp_contract contract = mp_contract_weakest();
        char text[64], keys[96];
        contract.act_clamp_nan = nan ? (mp_clamp_nan)i : MP_CLAMP_NAN_KEPT;
        mp_contract_field(&contract, "act.clamp_nan", text);
        if (nan)
            snprintf(keys, sizeof keys, "act.clamp_nan=%s", text);
        else
            snprintf(keys, sizeof keys, "act.up_plus_zero=%d", i);
        const mp_evidence_value value = {.name = nan ? text
                                                 : i ? "a factor of +0"
                                                     : "a factor of -0",
                                         .keys = keys,
                                         .weak = nan && i == MP_CLAMP_NAN_ANY};
        const mp_tally_rows tally = tally_of(r, &(rule){odd, i});
        mp_tally_take(r, MP_ACT, question,
                      (int[MP_EVIDENCE_AXES]){mp_evidence_value_of(r->evidence, question, 0, value)}, &tally);
    }
    return MP_OK;
}

mp_status mp_infer_odd(const mp_infer_run *r, mp_error *err) {
    mp_status status = ask_field(r, MP_ODD_NAN, MP_QUESTION_NAN, err);
    return status == MP_OK ? ask_field(r, MP_ODD_ZERO, MP_QUESTION_ZERO, err) : status;
}
