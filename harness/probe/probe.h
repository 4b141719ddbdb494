/* SPDX-License-Identifier: Apache-2.0 */
/* `moeparity probe`: every matrix instruction of a device, measured, and judged against the scalar model of
 * ref/predict/tensorcore.h. */
#ifndef MP_HARNESS_PROBE_H
#define MP_HARNESS_PROBE_H

#include "harness/probe/probe_measure.h"
#include "harness/probe/probe_random.h"
#include "kernels/probe.h"
#include "ref/predict/tensorcore.h"

#include <jansson.h>

/* One instruction with its operand type. */
typedef struct mp_probe_kind {
    mp_mma_instruction instruction;
    mp_tc_input input;
    mp_dtype operand, result;
    int precision;
    mp_tc_result accumulator;
} mp_probe_kind;
extern const mp_probe_kind mp_probe_kinds[];
extern const int mp_probe_kind_count;

/* Where a kind's model came from. */
typedef enum mp_probe_source { MP_MODEL_NONE, MP_MODEL_TABLE, MP_MODEL_PROPOSED } mp_probe_source;

typedef struct mp_probe_result {
    const mp_probe_kind *kind;
    mp_probe_source source;
    mp_tc_model
        model; /* what the table has for this architecture, or what the measurement suggests; see source */
    bool measurable;                   /* floats are, s8 is exact */
    mp_measurement measured, expected; /* expected: the same procedure on the model */
    const char *differs;               /* the first field in which they differ; NULL */
    int known, known_right;            /* vectors with results known from hardware */
    char known_first[1024];            /* the first that came out otherwise, or "" */
    mp_probe_mismatches random[MP_PROBE_MODE_COUNT];
    bool holds; /* all of the above agree with the model, table or proposed */
} mp_probe_result;

typedef struct mp_probe_options {
    int64_t vectors, seed; /* random vectors of each mode */
} mp_probe_options;

/* Measures `evaluate` as the kind of architecture sm (90 for sm_90). */
mp_status mp_probe_run(const mp_probe_kind *kind, int sm, mp_dot_function *evaluate, void *context,
                       const mp_probe_options *options, mp_probe_result *result, mp_error *err);
/* The same on the device. MP_EUNSUPPORTED where the instruction does not exist. */
mp_status mp_probe_run_cuda(const mp_probe_kind *kind, mp_cuda *cuda, const mp_probe_options *options,
                            mp_probe_result *result, mp_error *err);

/* The scalar model as an arithmetic to evaluate; context is a const mp_tc_model. Vectors in parallel. */
mp_status mp_probe_evaluate_model(void *context, int steps, const uint32_t *a, const uint32_t *b,
                                  const uint32_t *c, int64_t count, uint32_t *d, mp_error *err);
/* The model whose measurement this is; false when the arithmetic is of another kind than the model
 * describes. */
bool mp_probe_propose(const mp_probe_kind *kind, const mp_measurement *m, mp_tc_model *model);

const char *mp_probe_instruction_name(const mp_probe_kind *kind); /* "mma.sync" or "wgmma" */
const char *mp_probe_result_name(const mp_probe_kind *kind);      /* "f32", "f16", "s32" or "s32.satfinite" */
json_t *mp_probe_result_to_json(const mp_probe_result *result);   /* new reference */

#endif
