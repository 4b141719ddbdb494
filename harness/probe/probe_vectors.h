/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors whose results are known from hardware: each shows one property of the tensor cores' arithmetic. */
#ifndef MP_HARNESS_PROBE_VECTORS_H
#define MP_HARNESS_PROBE_VECTORS_H

#include "moeparity/status.h"
#include "ref/predict/tensorcore.h"

/* Units with results of their own. */
typedef enum mp_probe_unit {
    MP_UNIT_AMPERE,     /* sm_80 to sm_89: 16-bit types and tf32 */
    MP_UNIT_HOPPER,     /* sm_90, but for the next */
    MP_UNIT_HOPPER_FP8, /* sm_90: mma.sync with 8-bit floats */
    MP_UNIT_COUNT,
    MP_UNIT_UNKNOWN = MP_UNIT_COUNT
} mp_probe_unit;
mp_probe_unit mp_probe_unit_of(int sm, mp_tc_instruction instruction, mp_tc_input input);

/* Operands are lists of hexadecimal codes from k=0 on; "3F80x8" repeats, the rest is 0. */
typedef struct mp_probe_vector {
    const char *shows;
    mp_tc_input input;
    const char *a, *b;
    uint32_t c;
    const char *result[MP_UNIT_COUNT]; /* hexadecimal; NULL: not known */
} mp_probe_vector;
extern const mp_probe_vector mp_probe_vectors[];
extern const int mp_probe_vector_count;

/* Writes `depth` codes. MP_EINTERNAL for a list that is malformed or too long. */
mp_status mp_probe_parse_codes(const char *list, int depth, uint32_t *codes, mp_error *err);

#endif
