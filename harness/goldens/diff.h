/* SPDX-License-Identifier: Apache-2.0 */
/* Two goldens side by side: case by case contract, config, block_size_m and inputs, then the tensors in
 * pipeline order, with where they differ, by how much, and which experts and tiles that touches. */
#ifndef MP_HARNESS_GOLDENS_DIFF_H
#define MP_HARNESS_GOLDENS_DIFF_H

#include "harness/goldens/align.h"
#include "harness/judge/where.h"

/* Elements that differ, by their distance in units of the last place: 1, 2, 3..4, 5..8, and so on to
 * 2^14+1..2^15, more, and those of which one side is NaN. Integers have none. */
enum { MP_ULP_BINS = 18 };
void mp_ulp_bin_text(int bin, char text[32]);

typedef enum mp_tensor_state {
    MP_TENSOR_ABSENT, /* on both sides */
    MP_TENSOR_EQUAL,
    MP_TENSOR_DIFFERS,
    MP_TENSOR_OTHER_SHAPE,
    MP_TENSOR_ONLY_A,
    MP_TENSOR_ONLY_B,
    MP_TENSOR_NOT_COMPARED, /* its rows lie elsewhere, and nobody knows where */
} mp_tensor_state;

/* One tensor of both. */
typedef struct mp_tensor_diff {
    mp_tensor_state state;
    mp_stage stage;  /* that it is told with */
    bool digest;     /* one side has digests alone: of rows, no elements */
    bool by_slots;   /* rows lie in different places: compared slot by slot, padding not at all */
    char text[1024]; /* where it begins, both values, the pattern; or shapes; or why not */
    char pattern[MP_WHERE_TEXT_MAX];
    int64_t elements, rows; /* that were compared */
    int64_t differing_elements, differing_rows, crowded_groups, max_ulps;
    double max_abs;
    int64_t ulps[MP_ULP_BINS];
    char experts[256]; /* "3 (12 rows), 5 (1 row)"; "" where rows are no slots, or their experts unknown */
    int64_t experts_touched;
    int64_t tiles_touched, tiles; /* of a GEMM's output tiles; tiles == 0: not known */
} mp_tensor_diff;

/* One case of both: a or b is NULL where only the other file has it. */
typedef struct mp_case_diff {
    const mp_golden_entry *a, *b;
    bool equal; /* in all that is stored on both sides, and nothing is on one alone */
    bool contract, config, block_size_m, inputs;                   /* differ; inputs: their digests */
    mp_tensor_diff trace[MP_TENSOR_COUNT], input[MP_TENSOR_COUNT]; /* input: where both sides hold them */
} mp_case_diff;

/* Of a whole comparison. */
typedef struct mp_stage_counts {
    int64_t tensors, differing_tensors, elements, differing_elements, ulps[MP_ULP_BINS];
} mp_stage_counts;
typedef struct mp_diff_counts {
    bool fill_version; /* differs */
    int64_t aligned, equal, differing, only_a, only_b;
    mp_stage_counts stage[MP_STAGE_COUNT];
} mp_diff_counts;

/* A case of a beside one of b. */
mp_status mp_goldens_diff_case(const mp_golden_side *a, const mp_golden_side *b, mp_case_diff *d,
                               mp_error *err);
/* All cases: those of a in its order, with what stands beside them, then those that only b has. visit gets
 * each, equal ones too, and may fail. MP_EINPUT as mp_goldens_align, and for damaged numbers. */
typedef mp_status mp_diff_visit(void *ctx, const mp_case_diff *d, mp_error *err);
mp_status mp_goldens_diff(mp_golden *a, mp_golden *b, const mp_align_rules *rules, mp_diff_visit *visit,
                          void *ctx, mp_diff_counts *counts, mp_error *err);
/* Whether nothing differs. */
bool mp_diff_is_equal(const mp_diff_counts *counts);

#endif
