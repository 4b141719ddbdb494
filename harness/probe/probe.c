/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/probe/probe.h"

#include "harness/probe/probe_vectors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS(wgmma)                                                                         \
    {{wgmma, "bf16", "f32", 16, false}, MP_TC_BF16, MP_BF16, MP_FP32, 8, MP_TC_FLOAT32},     \
        {{wgmma, "f16", "f32", 16, false}, MP_TC_FP16, MP_FP16, MP_FP32, 11, MP_TC_FLOAT32}, \
        {{wgmma, "f16", "f16", 16, false}, MP_TC_FP16, MP_FP16, MP_FP16, 11, MP_TC_FLOAT16}, \
        {{wgmma, "tf32", "f32", 8, false}, MP_TC_TF32, MP_FP32, MP_FP32, 11, MP_TC_FLOAT32}, \
        {{wgmma, "e4m3", "f32", 32, false}, MP_TC_E4M3, MP_E4M3, MP_FP32, 4, MP_TC_FLOAT32}, \
        {{wgmma, "e5m2", "f32", 32, false}, MP_TC_E5M2, MP_E5M2, MP_FP32, 3, MP_TC_FLOAT32}, \
        {{wgmma, "s8", "s32", 32, false}, MP_TC_S8, MP_I32, MP_I32, 8, MP_TC_INT32},         \
        {{wgmma, "s8", "s32", 32, true}, MP_TC_S8, MP_I32, MP_I32, 8, MP_TC_INT32_SATURATED},

const mp_probe_kind mp_probe_kinds[] = {KINDS(false) KINDS(true)};
const int mp_probe_kind_count = sizeof mp_probe_kinds / sizeof *mp_probe_kinds;

const char *mp_probe_instruction_name(const mp_probe_kind *kind) {
    return kind->instruction.wgmma ? "wgmma" : "mma.sync";
}

const char *mp_probe_result_name(const mp_probe_kind *kind) {
    return kind->instruction.saturate ? "s32.satfinite" : kind->instruction.result;
}

mp_status mp_probe_evaluate_model(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                  const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    (void)err;
    const mp_tc_model *model = context;
    const int64_t length = steps * (model->a == MP_TC_TF32                             ? 8
                                    : model->a == MP_TC_BF16 || model->a == MP_TC_FP16 ? 16
                                                                                       : 32);
#pragma omp parallel for if (count > 4096)
    for (int64_t v = 0; v < count; v++) d[v] = mp_tc_dot(model, length, a + v * length, b + v * length, c[v]);
    return MP_OK;
}

enum { SM_90_ZERO_EXPONENT = -133 };

bool mp_probe_propose(const mp_probe_kind *kind, const mp_measurement *m, mp_tc_model *model) {
    const bool direct = m->c_fused == MP_YES && m->ascending;
    *model = (mp_tc_model){
        .a = kind->input,
        .b = kind->input,
        .group = direct ? m->group : m->depth,
        .fraction_bits = m->fraction_bits,
        .result_fraction_bits = m->result_bits,
        .zero_exponent =
            m->e_zero_exact ? m->e_zero : SM_90_ZERO_EXPONENT, /* any value below the bound gives the same
                                                                  results; sm_90 has this one */
        .method = direct ? MP_TC_DIRECT : MP_TC_THROUGH_FP16,
        .result = kind->accumulator,
    };
    /* A rounding that no vector shows makes no difference, so that it may be called truncation. */
    const mp_rounding_kind expected = kind->accumulator == MP_TC_FLOAT16 ? MP_TO_NEAREST_EVEN : MP_TO_ZERO;
    return m->group >= 2 && (m->alignment == MP_TO_ZERO || m->alignment == MP_ROUND_UNSEEN) &&
           (m->rounding == expected || m->rounding == MP_ROUND_UNSEEN);
}

static mp_status run_known_vectors(const mp_dot *dot, const mp_probe_kind *kind, int sm, mp_probe_result *r,
                                   mp_error *err) {
    const mp_probe_unit unit =
        mp_probe_unit_of(sm, kind->instruction.wgmma ? MP_TC_WGMMA : MP_TC_MMA, kind->input);
    mp_status status = MP_OK;
    if (kind->accumulator != MP_TC_FLOAT32 || unit == MP_UNIT_UNKNOWN) return MP_OK;
    for (int i = 0; i < mp_probe_vector_count && status == MP_OK; i++) {
        const mp_probe_vector *v = &mp_probe_vectors[i];
        uint32_t a[MP_PROBE_DEPTH_MAX], b[MP_PROBE_DEPTH_MAX], d = 0;
        if (v->input != kind->input || !v->result[unit]) continue;
        status = mp_probe_parse_codes(v->a, dot->depth, a, err);
        if (status == MP_OK) status = mp_probe_parse_codes(v->b, dot->depth, b, err);
        if (status == MP_OK) status = dot->evaluate(dot->context, 1, a, b, &v->c, 1, &d, err);
        if (status != MP_OK) break;
        const bool right = d == (uint32_t)strtoul(v->result[unit], NULL, 16);
        r->known++;
        r->known_right += right;
        if (!right && !r->known_first[0])
            snprintf(r->known_first, sizeof r->known_first, "%s: a=%s b=%s c=%08X -> %08X, expected %s",
                     v->shows, v->a, v->b, v->c, d, v->result[unit]);
    }
    return status;
}

mp_status mp_probe_run(const mp_probe_kind *kind, int sm, mp_dot_function *evaluate, void *context,
                       const mp_probe_options *options, mp_probe_result *r, mp_error *err) {
    const mp_tc_instruction instruction = kind->instruction.wgmma ? MP_TC_WGMMA : MP_TC_MMA;
    const mp_dot device = {evaluate,     context,         kind->operand,
                           kind->result, kind->precision, kind->instruction.depth};
    mp_dot model = device;
    mp_status status = MP_OK;
    *r = (mp_probe_result){.kind = kind, .measurable = kind->operand != MP_I32};
    if (mp_tc_find(sm, instruction, kind->input, kind->input, &r->model)) r->source = MP_MODEL_TABLE;
    r->model.result = kind->accumulator;
    if (r->measurable) {
        status = mp_measure_dot(&device, &r->measured, err);
        if (status == MP_OK && r->source == MP_MODEL_NONE && mp_probe_propose(kind, &r->measured, &r->model))
            r->source = MP_MODEL_PROPOSED;
    }
    if (status == MP_OK) status = run_known_vectors(&device, kind, sm, r, err);
    if (status != MP_OK || r->source == MP_MODEL_NONE) return status;

    model.evaluate = mp_probe_evaluate_model;
    model.context = &r->model;
    r->holds = r->known == r->known_right;
    if (r->measurable) {
        status = mp_measure_dot(&model, &r->expected, err);
        r->holds &= status == MP_OK && mp_measurement_equal(&r->measured, &r->expected, &r->differs);
    }
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT && status == MP_OK; mode++) {
        status = mp_probe_compare(&device, &model, (mp_probe_mode)mode, options->seed, options->vectors,
                                  &r->random[mode], err);
        r->holds &= r->random[mode].mismatches == 0;
    }
    return status;
}

typedef struct device_context {
    mp_cuda *cuda;
    const mp_mma_instruction *instruction;
} device_context;

static mp_status evaluate_device(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                 const uint32_t *c, int64_t count, uint32_t *d, mp_error *err) {
    const device_context *device = context;
    return mp_cuda_probe(device->cuda, device->instruction, steps, a, b, c, count, d, err);
}

mp_status mp_probe_run_cuda(const mp_probe_kind *kind, mp_cuda *cuda, const mp_probe_options *options,
                            mp_probe_result *result, mp_error *err) {
    device_context context = {cuda, &kind->instruction};
    const int sm = mp_cuda_architecture(cuda);
    *result = (mp_probe_result){.kind = kind};
    if (!mp_mma_supported(sm, &kind->instruction))
        return mp_fail(err, MP_EUNSUPPORTED, "%s of %s does not exist on sm_%d",
                       mp_probe_instruction_name(kind), kind->instruction.type, sm);
    return mp_probe_run(kind, sm, evaluate_device, &context, options, result, err);
}

static json_t *measurement_to_json(const mp_measurement *m) {
    char text[512];
    json_t *rank = json_array();
    mp_measurement_text(m, text, sizeof text);
    for (int k = 0; k < m->depth; k++) json_array_append_new(rank, json_integer(m->rank[k]));
    return json_pack("{s:s, s:i, s:b, s:o, s:s, s:i, s:s, s:i, s:s, s:o, s:b, s:s}", "text", text, "group",
                     m->group, "ascending", m->ascending, "rank", rank, "c_fused", mp_seen_name(m->c_fused),
                     "fraction_bits", m->fraction_bits, "alignment", mp_rounding_kind_name(m->alignment),
                     "result_bits", m->result_bits, "rounding", mp_rounding_kind_name(m->rounding), "e_zero",
                     m->e_zero == INT_MAX ? json_null() : json_integer(m->e_zero), "e_zero_exact",
                     m->e_zero_exact, "hidden_bits", mp_seen_name(m->hidden_bits));
}

json_t *mp_probe_result_to_json(const mp_probe_result *r) {
    static const char *const sources[] = {"none", "table", "proposed"};
    json_t *random = json_object();
    for (int mode = 0; mode < MP_PROBE_MODE_COUNT; mode++)
        json_object_set_new(random, mp_probe_mode_name((mp_probe_mode)mode),
                            json_pack("{s:I, s:I, s:s}", "vectors", (json_int_t)r->random[mode].vectors,
                                      "mismatches", (json_int_t)r->random[mode].mismatches, "first",
                                      r->random[mode].first));
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:b, s:o, s:{s:i, s:i, s:s}}", "instruction",
                  mp_probe_instruction_name(r->kind), "type", r->kind->instruction.type, "result",
                  mp_probe_result_name(r->kind), "model", sources[r->source], "holds", r->holds, "random",
                  random, "known", "vectors", r->known, "right", r->known_right, "first", r->known_first);
    if (r->measurable) json_object_set_new(json, "measured", measurement_to_json(&r->measured));
    if (r->measurable && r->source != MP_MODEL_NONE) {
        json_object_set_new(json, "expected", measurement_to_json(&r->expected));
        json_object_set_new(json, "differs", r->differs ? json_string(r->differs) : json_null());
    }
    return json;
}
