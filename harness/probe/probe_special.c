/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/probe/probe_special.h"

#include "ref/predict/float32_math.h"
#include "ref/predict/special_unit_tanh.h"

#include <stdlib.h>

static float mul_ftz(const mp_special_unit *unit, float a, float b) {
    (void)unit;
    return mp_mul_ftz(a, b);
}

static float tanh_approx(const mp_special_unit *unit, float x) {
    (void)unit;
    return mp_tanh_approx(x);
}

enum { EX2_FTZ, RCP_FTZ = 2 }; /* of the table below */
const mp_special_kind mp_special_kinds[] = {
    {"ex2.approx.ftz.f32", mp_ex2_approx_ftz, NULL},
    {"ex2.approx.f32", mp_ex2_approx, NULL},
    {"rcp.approx.ftz.f32", mp_rcp_approx_ftz, NULL},
    {"rcp.approx.f32", mp_rcp_approx, NULL},
    {"div.approx.ftz.f32", NULL, mp_div_approx_ftz},
    {"div.approx.f32", NULL, mp_div_approx},
    {"div.full.ftz.f32", NULL, mp_div_full_ftz},
    {"div.full.f32", NULL, mp_div_full},
    {"mul.ftz.f32", NULL, mul_ftz},
    {"tanh.approx.f32", tanh_approx, NULL},
};
const int mp_special_kind_count = sizeof mp_special_kinds / sizeof *mp_special_kinds;

mp_status mp_special_evaluate_model(void *context, const mp_special_kind *kind, const uint32_t *a,
                                    const uint32_t *b, int64_t count, uint32_t *d, mp_error *err) {
    (void)err;
    const mp_special_unit *unit = context;
#pragma omp parallel for if (count > 4096)
    for (int64_t v = 0; v < count; v++) {
        const float x = mp_bits_float(a[v]);
        d[v] = mp_float_bits(kind->one ? kind->one(unit, x) : kind->two(unit, x, mp_bits_float(b[v])));
    }
    return MP_OK;
}

mp_status mp_special_evaluate_cuda(void *context, const mp_special_kind *kind, const uint32_t *a,
                                   const uint32_t *b, int64_t count, uint32_t *d, mp_error *err) {
    return mp_cuda_probe_special_unit(context, kind->name, kind->one ? 1 : 2, a, b, count, d, err);
}

/* An instruction as an arithmetic of vectors of one term, without c. */
typedef struct instruction {
    mp_special_function *evaluate;
    void *context;
    const mp_special_kind *kind;
} instruction;

static mp_status evaluate_terms(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    (void)steps;
    (void)c;
    const instruction *i = context;
    const mp_status status = i->evaluate(i->context, i->kind, a, b, count, d, err);
    for (int64_t v = 0; v < count && status == MP_OK; v++)
        if ((d[v] & 0x7FFFFFFF) > 0x7F800000) d[v] = 0x7FFFFFFF;
    return status;
}

mp_status mp_special_run(const mp_special_kind *kind, mp_special_function *evaluate, void *context,
                         const mp_special_unit *unit, const mp_probe_options *options, mp_special_result *r,
                         mp_error *err) {
    mp_special_unit tables = *unit;
    instruction device = {evaluate, context, kind}, model = {mp_special_evaluate_model, &tables, kind};
    const mp_dot of_device = {evaluate_terms, &device, MP_FP32, MP_FP32, 24, 1},
                 of_model = {evaluate_terms, &model, MP_FP32, MP_FP32, 24, 1};
    mp_status status = MP_OK;
    *r = (mp_special_result){.kind = kind};
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT && status == MP_OK; mode++)
        status = mp_probe_compare(&of_device, &of_model, (mp_probe_mode)mode, options->seed, options->vectors,
                                  &r->random[mode], err);
    r->holds = status == MP_OK;
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++) r->holds &= r->random[mode].mismatches == 0;
    return status;
}

mp_status mp_special_record(bool of_rcp, mp_special_function *evaluate, void *context,
                            const mp_special_unit *unit, int8_t *ulps, mp_special_table *table,
                            mp_error *err) {
    const mp_special_kind *kind = &mp_special_kinds[of_rcp ? RCP_FTZ : EX2_FTZ];
    const uint32_t *known = of_rcp ? unit->rcp : unit->ex2;
    uint32_t *x = malloc(2 * (size_t)MP_SPECIAL_UNIT_ENTRIES * sizeof *x);
    if (!x)
        return mp_fail(err, MP_EMEMORY, "no memory for %d results of %s", MP_SPECIAL_UNIT_ENTRIES,
                       kind->name);
    uint32_t *got = x + MP_SPECIAL_UNIT_ENTRIES;
    for (int i = 0; i < MP_SPECIAL_UNIT_ENTRIES; i++)
        x[i] = of_rcp ? 0x3F800000u | (uint32_t)i : mp_float_bits((float)i * 0x1p-23f);
    mp_status status = evaluate(context, kind, x, NULL, MP_SPECIAL_UNIT_ENTRIES, got, err);
    *table = (mp_special_table){0, 0};
    for (int i = 0; i < MP_SPECIAL_UNIT_ENTRIES && status == MP_OK; i++) {
        const int64_t off = mp_special_unit_ulps(of_rcp, i, got[i]);
        ulps[i] = (int8_t)(off < -127 ? -127 : off > 127 ? 127 : off);
        table->unkept += off != ulps[i];
        table->differ += got[i] != known[i];
    }
    free(x);
    return status;
}

json_t *mp_special_result_to_json(const mp_special_result *r) {
    json_t *random = json_object();
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        json_object_set_new(random, mp_probe_mode_name((mp_probe_mode)mode),
                            json_pack("{s:I, s:I, s:s}", "vectors", (json_int_t)r->random[mode].vectors,
                                      "mismatches", (json_int_t)r->random[mode].mismatches, "first",
                                      r->random[mode].first));
    return json_pack("{s:s, s:b, s:o}", "instruction", r->kind->name, "holds", r->holds, "random", random);
}
