/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: stages between two exposed tensors, judged as one (judge_span.c). Each stage's
 * judge hands the balls on. */
#ifndef MP_HARNESS_SPAN_H
#define MP_HARNESS_SPAN_H

#include "harness/judge/balls.h"
#include "harness/judge/judge_stage.h"
#include "harness/judge/strangers.h"
#include "ref/ball_rules.h"

#include <math.h>

/* What the largest magnitude of numbers within their radii may be, NaN left out; unknown: beside these there
 * is one that may be anything. */
typedef struct mp_amax {
    double least, most;
    bool has_nan, unknown;
} mp_amax;

enum { MP_KNOWN_RULES = 64 };

/* A span being propagated, slab by slab of tokens; the last three are those of one that is judged.
 *
 * beside: a second contract, of which every store is exact. What differs between the two are radii alone: det
 * is then `sure` under the second, nobody asks for random, and what has no bound keeps its exact value.
 *
 * tokens: these alone, each a slab of its own; NULL: all. */
typedef struct mp_span {
    const mp_judgement *j;
    mp_stage first, last;
    mp_stage_set stages; /* between them, of the span */
    double lambda;
    bool shown_scales; /* codes are of the scales that the subject shows, which are judged elsewhere */
    bool numbers_stay; /* quantisers leave them as they are: what is propagated is float64 itself */
    const mp_contract *beside;
    int64_t slab; /* tokens at a time; 0: as many as fit into MP_SLAB_BYTES */
    const int64_t *tokens;
    int64_t token_count;
    int64_t first_token;
    mp_case part; /* the tokens of the slab */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_slot_map map; /* route order: nobody sees these rows */
    struct {         /* of sums, found already: they depend on binades of reach alone */
        mp_stage stage;
        double reach;
        mp_ball_sum_rule rules[2];
    } known[MP_KNOWN_RULES];
    int known_count;
    double largest_w[MP_STAGE_COUNT][2]; /* numbers, and codes, of each GEMM's weights; < 0: not known yet */
    int64_t flushed_w[MP_STAGE_COUNT];   /* as mp_add_flushed leaves it */
    mp_ball_pool pool;                   /* what the balls of a slab lie in */
    mp_stage_judge s;
    mp_strangers scales; /* of a span that ends with codes */
    int64_t open_scales; /* of which it is not known what they may be */
    mp_amax amax;        /* of all numbers that became them, where they share a scale */
    int64_t unbounded;   /* elements of which no finite bound is known */
    double *statistical; /* [rows of the whole output]: sum of squares of det + random + half an ulp */
} mp_span;

/* Balls of the span's stages: with the radii that it carries. */
static inline mp_status mp_span_balls(mp_span *span, mp_balls *b, int64_t rows, int64_t width,
                                      mp_error *err) {
    return mp_balls_take(&span->pool, b, rows, width, span->beside ? MP_RADII_SURE_AND_DET : MP_RADII_ALL,
                         err);
}

/* What the last stage of a slab leaves: `out` has its rows first_row .. of the whole output. */
typedef void mp_span_take(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row);
/* A span of these stages, up to `last`; elements: of the output, for the odds. */
void mp_span_begin(mp_span *span, const mp_judgement *j, mp_stage_set stages, mp_stage last,
                   int64_t elements);
/* Tokens first .. first+count are its part; its map.memory is freed by the caller. */
mp_status mp_span_window(mp_span *span, int64_t first, int64_t count, mp_error *err);
/* The stages on balls, slab by slab. */
mp_status mp_span_propagate(mp_span *span, const mp_judgement *j, mp_stage_set stages, mp_stage last,
                            int64_t elements, mp_span_take *take, void *ctx, mp_error *err);

/* The same arithmetic, of real numbers but for the quantisers. */
mp_contract mp_exact_but_for_codes(const mp_contract *contract);

/* How a stage stores in dtype. The last stage's own store is left to the measurement. */
mp_ball_store mp_span_store_of(const mp_span *span, mp_stage stage, mp_dtype dtype);

/* Stores element i so: the radii grow by the rounding to dtype, the value stays exact. */
void mp_span_store(const mp_span *span, mp_stage stage, mp_dtype dtype, mp_balls *b, int64_t i, double value,
                   double sure, double det, double random);

/* A span that ends with quant_x or quant_act: its balls are in units of codes, by the scales that the subject
 * shows, and these must be such as numbers within their radii can give. Tells those that are not. */
static inline bool mp_stage_makes_codes(mp_stage stage) {
    return stage == MP_QUANT_X || stage == MP_QUANT_ACT;
}
void mp_span_tell_codes(mp_span *span);

/* What a contract says of the sums of a slab. */
typedef struct mp_span_bound {
    mp_sum_bound sum; /* of the accumulation */
    bool open;        /* scaling may overflow on the way: nothing is known of any of them */
} mp_span_bound;

/* What the accumulation adds to the errors that the terms of a sum have handed on. */
static inline double mp_span_accumulated(const mp_span_bound *b, double mass, double handed) {
    return b->sum.rel * (mass + handed) + b->sum.abs;
}

/* What the contract, and the one beside it, say of all sums of a GEMM on balls, or of its own a where `in` is
 * NULL. */
typedef struct mp_span_bounds {
    mp_span_bound own, beside;
} mp_span_bounds;
mp_span_bounds mp_span_bounds_of(mp_span *span, mp_stage stage, const mp_gemm_problem *problem,
                                 const mp_balls *in);

/* A GEMM on balls: float64 sums of the values; in sure and det the magnitudes of the sums of the
 * operand's, in random the sum of squares of its random radii, each times the weight. All of [slots, n] of
 * the problem, whose a is replaced by `in`, or exact where that is NULL; zeros of slots that are left out. */
typedef struct mp_span_sums {
    mp_balls acc;
    double *mass; /* of the values */
} mp_span_sums;
/* acc and mass are the pool's, to be given back by the caller, after an error too. */
mp_status mp_span_gemm(mp_span *span, const mp_gemm_problem *problem, const mp_balls *in, mp_span_sums *sums,
                       mp_error *err);

/* What the contract, and the one beside it, say of the sums of gate_up or down over a row of balls, none of
 * which reaches further than `reach`; where only the contract is there, rules[1] is not written. From one
 * thread at a time. */
void mp_span_sum_rules(mp_span *span, mp_stage stage, double reach, mp_ball_sum_rule rules[2]);
/* How gate_up or down stores: gate and up that are not stored are float32, and nothing is rounded. */
mp_ball_store mp_span_gemm_store(const mp_span *span, mp_stage stage);
/* What quant_x or quant_act does to balls, and to those of rows first .. first+rows of the span's part:
 * [rows, groups of a row]. */
mp_quant_stage_rule mp_span_quant_rule(const mp_span *span, mp_stage stage);
void mp_span_quant_groups(const mp_span *span, mp_stage stage, int64_t first, int64_t rows,
                          mp_quant_group *groups);
/* The rules of the whole span, for an engine that carries its balls; they live as long as the span's part. */
mp_ball_rules mp_span_ball_rules(mp_span *span);

/* The stages on balls, mp_propagate_align, ...: each takes `out`, which the caller drops, after an error too.
 * in: what the stages before have left of what it reads, by the order of tensors, as balls or, where it is
 * exposed, the tensor; in slots, but x and its codes have a row a token. NULL for a stage that reads none of
 * another's. A stage that knows no bounds leaves an infinite `sure`. */
typedef mp_status mp_span_stage(mp_span *span, const mp_balls *in, mp_balls *out, mp_error *err);
#define MP_PROPAGATE_STAGE(stage, scope, name) mp_span_stage mp_propagate_##name;
MP_STAGES(MP_PROPAGATE_STAGE)
#undef MP_PROPAGATE_STAGE

#endif
