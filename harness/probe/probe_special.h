/* SPDX-License-Identifier: Apache-2.0 */
/* The special-function unit of a device: its tables recorded, and the instructions that are made of it judged
 * against the model of ref/predict/special_unit.h, which has the tables of an sm_90. */
#ifndef MP_HARNESS_PROBE_SPECIAL_H
#define MP_HARNESS_PROBE_SPECIAL_H

#include "harness/probe/probe.h"
#include "ref/predict/special_unit.h"

/* A float32 instruction as PTX names it, and its model: `one` or `two`, by the number of operands. */
typedef struct mp_special_kind {
    const char *name;
    float (*one)(const mp_special_unit *unit, float x);
    float (*two)(const mp_special_unit *unit, float a, float b);
} mp_special_kind;
extern const mp_special_kind mp_special_kinds[];
extern const int mp_special_kind_count;

/* d[v] = instruction(a[v], b[v]), float32 bits. */
typedef mp_status mp_special_function(void *context, const mp_special_kind *kind, const uint32_t *a,
                                      const uint32_t *b, int64_t count, uint32_t *d, mp_error *err);
mp_special_function mp_special_evaluate_model; /* context: a const mp_special_unit */
mp_special_function mp_special_evaluate_cuda;  /* context: a mp_cuda */

typedef struct mp_special_result {
    const mp_special_kind *kind;
    mp_probe_mismatches random[MP_PROBE_MODE_COUNT]; /* a NaN is a NaN, whatever its payload */
    bool holds;
} mp_special_result;

/* Random operands of each mode, against the model. */
mp_status mp_special_run(const mp_special_kind *kind, mp_special_function *evaluate, void *context,
                         const mp_special_unit *unit, const mp_probe_options *options,
                         mp_special_result *result, mp_error *err);
json_t *mp_special_result_to_json(const mp_special_result *result); /* new reference */

/* The tables of ex2.approx.ftz.f32 and rcp.approx.ftz.f32, as ref/predict/special_unit_tables.h keeps them.
 * ulps: MP_SPECIAL_UNIT_ENTRIES. */
typedef struct mp_special_table {
    int64_t differ; /* entries that are not the unit's */
    int64_t unkept; /* entries of more than 127 ulps, which a byte cannot hold */
} mp_special_table;
mp_status mp_special_record(bool of_rcp, mp_special_function *evaluate, void *context,
                            const mp_special_unit *unit, int8_t *ulps, mp_special_table *table,
                            mp_error *err);

#endif
