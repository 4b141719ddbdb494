/* SPDX-License-Identifier: Apache-2.0 */
/* quant_x and quant_act in the arithmetic of a contract's quantiser (ref/predict/quantise.h). */
#include "ref/quant.h"

#include "base/threads.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"
#include "ref/predict/quantise.h"
#include "ref/quantise_rules.h"

#include <stdlib.h>
#include <string.h>

static const char *unpredictable(const mp_contract *contract, const mp_case *c) {
    if (!mp_scheme_of(c)->quantises_activations) return NULL;
    if (contract->quantiser == MP_ANY_QUANTISER) return "who quantises is not said";
    return mp_unpredictable_quantiser((mp_quantiser)contract->quantiser);
}

const char *mp_unpredictable_quant_x(const mp_contract *contract, const mp_case *c) {
    return unpredictable(contract, c);
}

const char *mp_unpredictable_quant_act(const mp_contract *contract, const mp_case *c) {
    return unpredictable(contract, c);
}

static void put_codes(const mp_quant_pass *p, const mp_quant_span *s, const mp_quant_device *device,
                      const mp_quant_prediction *made) {
    enum { PIECE = 256 };
    const int64_t at = s->row * mp_tensor_row_length(p->codes) + s->first;
    uint8_t codes[PIECE];
    for (int64_t k = 0; k < s->n; k += PIECE) {
        const int64_t here = s->n - k < PIECE ? s->n - k : PIECE;
        mp_predict_codes(&p->q, device, made, s->x + k, here, codes);
        for (int64_t i = 0; i < here; i++) mp_put_code(p->codes->dtype, p->codes->data, at + k + i, codes[i]);
    }
}

/* ctx: the mp_quant_device. */
static void quantise(void *ctx, const mp_quant_pass *p, const mp_quant_span *s) {
    const mp_quant_device *device = ctx;
    const mp_quant_prediction made = mp_predict_scale(&p->q, device, s->unit);
    if (p->scale) mp_quant_store_scale(p, s, made.scale);
    put_codes(p, s, device, &made);
}

static void zero_row(const mp_tensor *t, int64_t row) {
    memset(mp_tensor_row(t, row), 0, mp_tensor_row_bytes(t));
}

static mp_status quant_stage(const mp_prediction *self, const mp_stage_call *call, mp_stage stage,
                             mp_error *err) {
    const char *why = unpredictable(self->contract, call->c);
    if (why) return mp_fail(err, MP_EUNSUPPORTED, "%s", why);
    const mp_quant_pass p = mp_quant_pass_of(call, stage, (mp_quantiser)self->contract->quantiser);
    for (int64_t r = 0; r < p.rows && p.row && self->contract->filtered[stage] == MP_ROW_ZERO; r++) {
        if (p.topk_ids[r] >= 0 || p.row[r] < 0) continue;
        zero_row(p.codes, p.row[r]);
        if (p.scale && p.per != MP_PER_TENSOR) zero_row(p.scale, p.row[r]);
    }
    mp_quant_device device = {0};
    const bool own = mp_quantiser_is_own(p.q.quantiser); /* nothing in it is approximate */
    const mp_status status = own ? MP_OK : mp_quant_device_sm90(&device, err);
    return status == MP_OK ? mp_quant_for_each(&p, quantise, &device, err) : status;
}

/* ---- looked at by an engine ---- */

/* Codes alone. A scale that is shared with rows which are not here is taken as it is. */
static void quantise_alone(void *ctx, const mp_quant_pass *p, const mp_quant_span *s) {
    const mp_quant_bits *bits = ctx;
    const mp_quant_device device = {0};
    mp_quant_prediction made = mp_predict_scale(&p->q, &device, s->unit);
    if (p->per == MP_PER_TENSOR) made.factor = bits->factors[s->r * mp_quant_groups(p) + s->first / p->group];
    put_codes(p, s, &device, &made);
}

mp_status mp_predict_quantised(const mp_quant_bits *bits, const mp_tensor *codes, mp_error *err) {
    mp_quant_bits copy = *bits;
    mp_quant_pass p = *bits->pass;
    p.codes = codes;
    return mp_quant_for_each(&p, quantise_alone, &copy, err);
}

/* The factors of all groups, and whether the scales that the subject has stored are those that are
 * predicted of what its numbers have in common. */
static bool predict_factors(const mp_quant_pass *p, const mp_quant_seen *seen, float *factors) {
    const int64_t groups = mp_quant_groups(p);
    const mp_quant_device device = {0};
    int64_t differing = 0;
#pragma omp parallel for reduction(+ : differing) schedule(static) if (mp_worth_threads(p->rows, 20 * groups))
    for (int64_t r = 0; r < p->rows; r++) {
        const int64_t row = mp_quant_row(p, r);
        for (int64_t g = 0; g < groups && row >= 0; g++) {
            const mp_quant_unit unit = {.amax = seen[r * groups + g].amax};
            const mp_quant_prediction made = mp_predict_scale(&p->q, &device, &unit);
            factors[r * groups + g] = made.factor;
            differing +=
                p->scale && mp_encode_code(p->scale->dtype, made.scale) !=
                                mp_code_at(p->scale->dtype, p->scale->data, mp_quant_scale_at(p, row, g));
        }
    }
    return differing == 0;
}

/* Some rows. */
static mp_status confirm_part(const mp_engine *engine, const mp_quant_pass *p, int how, bool *equal,
                              mp_error *err) {
    const size_t groups = (size_t)(p->rows * mp_quant_groups(p));
    mp_quant_seen *seen = malloc(groups * sizeof *seen);
    float *factors = malloc(groups * sizeof *factors);
    const mp_quant_bits bits = {.pass = p, .factors = factors, .how = how};
    mp_status status = seen && factors ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %zu scales", groups);
    *equal = false;
    if (status == MP_OK) status = engine->see_groups(engine, p, seen, err);
    if (status == MP_OK) mp_quant_share(p, seen);
    if (status == MP_OK && predict_factors(p, seen, factors))
        status = engine->confirm_quant(engine, &bits, equal, err);
    free(seen);
    free(factors);
    return status;
}

mp_status mp_confirm_quant_stage(const mp_engine *engine, const mp_contract *contract,
                                 const mp_stage_call *call, mp_stage stage, bool *equal, mp_error *err) {
    const int how =
        contract->quantiser == MP_ANY_QUANTISER ? -1 : mp_quant_how((mp_quantiser)contract->quantiser);
    if (!engine->confirm_quant || how < 0)
        return mp_fail(err, MP_EUNSUPPORTED, "this quantiser is not looked at by an engine");
    const mp_quant_pass p = mp_quant_pass_of(call, stage, (mp_quantiser)contract->quantiser);
    int64_t *places;
    mp_status status = mp_quant_places(&p, &places, err);
    *equal = true;
    for (int64_t first = 0; first < p.rows && *equal && status == MP_OK;) {
        const mp_quant_pass part = mp_quant_part(&p, places, first);
        status = confirm_part(engine, &part, how, equal, err);
        first += part.rows;
    }
    free(places);
    return status;
}

/* ---- what is open ---- */

typedef struct open_codes {
    const mp_tensor *got;
    int64_t count;
} open_codes;

static void take_open(void *ctx, const mp_quant_pass *p, const mp_quant_span *s) {
    enum { PIECE = 256 };
    open_codes *open = ctx;
    const mp_dtype codes = p->codes->dtype;
    const double scale =
        p->scale ? mp_decode(p->scale->dtype, p->scale->data, s->scale_at) : (double)p->q.given;
    const mp_quant_range factor = mp_quant_factors(&p->q, s->unit, scale);
    const int64_t at = s->row * mp_tensor_row_length(p->codes) + s->first;
    uint8_t low[PIECE], high[PIECE];
    int64_t count = 0;
    for (int64_t k = 0; k < s->n; k += PIECE) {
        const int64_t here = s->n - k < PIECE ? s->n - k : PIECE;
        mp_quant_codes(&p->q, s->unit, factor, 0, s->x + k, here, low, high);
        for (int64_t i = 0; i < here; i++) {
            if (!mp_quant_code_is_open(codes, low[i], high[i])) continue;
            count++;
            if (open->got)
                mp_put_code(codes, p->codes->data, at + k + i,
                            mp_code_at(codes, open->got->data, at + k + i));
        }
    }
#pragma omp atomic
    open->count += count;
}

mp_status mp_predict_open_codes(const mp_contract *contract, const mp_stage_call *call, mp_stage stage,
                                const mp_tensor *got, int64_t *count, mp_error *err) {
    const mp_quant_pass p = mp_quant_pass_of(call, stage, (mp_quantiser)contract->quantiser);
    open_codes open = {.got = got};
    *count = 0;
    if (mp_quant_rules[p.q.quantiser].nan != MP_NAN_ANY) return MP_OK;
    const mp_status status = mp_quant_for_each(&p, take_open, &open, err);
    *count = open.count;
    return status;
}

mp_status mp_predict_stage_quant_x(void *self, const mp_stage_call *call, mp_error *err) {
    return quant_stage(self, call, MP_QUANT_X, err);
}

mp_status mp_predict_stage_quant_act(void *self, const mp_stage_call *call, mp_error *err) {
    return quant_stage(self, call, MP_QUANT_ACT, err);
}
