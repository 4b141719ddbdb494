/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: stages between two exposed tensors, judged as one (judge_span.c). Each stage's
 * judge hands the balls on. */
#ifndef MP_HARNESS_SPAN_H
#define MP_HARNESS_SPAN_H

#include "harness/judge/judge_stage.h"

/* A tensor of balls, float64, [rows, width]. exact: all radii are zero, and value alone is there. What the
 * radii are is told in judge_span.c. */
typedef struct mp_balls {
    mp_tensor value, sure, det, random;
    int64_t rows, width;
    bool exact;
} mp_balls;

/* All zeros; to be destroyed by the caller, after an error too. */
mp_status mp_balls_create(mp_balls *b, int64_t rows, int64_t width, bool exact, mp_error *err);
void mp_balls_destroy(mp_balls *b);

static inline double *mp_ball_at(const mp_tensor *t, int64_t i) {
    return (double *)t->data + i;
}

/* One of them: its radii are zeros where all are. */
typedef struct mp_ball {
    double value, sure, det, random;
} mp_ball;

static inline mp_ball mp_ball_get(const mp_balls *b, int64_t i) {
    if (b->exact) return (mp_ball){.value = *mp_ball_at(&b->value, i)};
    return (mp_ball){*mp_ball_at(&b->value, i), *mp_ball_at(&b->sure, i), *mp_ball_at(&b->det, i),
                     *mp_ball_at(&b->random, i)};
}

static inline void mp_ball_put(mp_balls *b, int64_t i, mp_ball ball) {
    *mp_ball_at(&b->value, i) = ball.value;
    *mp_ball_at(&b->sure, i) = ball.sure;
    *mp_ball_at(&b->det, i) = ball.det;
    *mp_ball_at(&b->random, i) = ball.random;
}

/* A span being propagated, slab by slab of tokens; the last three are those of one that is judged. */
typedef struct mp_span {
    const mp_judgement *j;
    mp_stage first, last;
    mp_stage_set stages; /* between them, of the span */
    double lambda;
    bool shown_scales; /* codes are of the scales that the subject shows, which are judged elsewhere */
    bool sure_alone;   /* det and random are not wanted, and are anything */
    bool exact_stores; /* nothing is rounded where it is stored */
    int64_t first_token;
    mp_case part; /* the tokens of the slab */
    mp_tensor t[MP_TENSOR_COUNT];
    mp_slot_map map;                  /* route order: nobody sees these rows */
    double largest_w[MP_STAGE_COUNT]; /* of the weights of each GEMM; < 0: not known yet */
    mp_stage_judge s;
    int64_t unbounded;   /* elements of which no finite bound is known */
    double *statistical; /* [rows of the whole output]: sum of squares of det + random + half an ulp */
} mp_span;

/* What the last stage of a slab leaves: `out` has its rows first_row .. of the whole output. */
typedef void mp_span_take(void *ctx, mp_span *span, const mp_balls *out, int64_t first_row);
/* These stages, up to `last`, on balls, slab by slab; elements: of the output, for the odds. */
mp_status mp_span_propagate(mp_span *span, const mp_judgement *j, mp_stage_set stages, mp_stage last,
                            int64_t elements, mp_span_take *take, void *ctx, mp_error *err);

/* Stores element i: the radii grow by the rounding to dtype, the value stays exact. The last stage's own
 * store is left to the measurement. */
void mp_span_store(const mp_span *span, mp_stage stage, mp_dtype dtype, mp_balls *b, int64_t i, double value,
                   double sure, double det, double random);

/* A GEMM on balls: float64 sums of the values; in sure and det the magnitudes of the sums of the
 * operand's, in random the sum of squares of its random radii, each times the weight. All of [slots, n] of
 * the problem, whose a is replaced by `in`, or exact where that is NULL. */
typedef struct mp_span_sums {
    mp_balls acc;
    double *mass;       /* of the values */
    mp_sum_bound bound; /* of the accumulation */
} mp_span_sums;
/* To be freed by the caller, after an error too; acc is the caller's to take. */
mp_status mp_span_gemm(mp_span *span, mp_stage stage, const mp_gemm_problem *problem, const mp_balls *in,
                       mp_span_sums *sums, mp_error *err);

/* The stages on balls, mp_propagate_align, ...: each creates `out`, which the caller destroys, after an
 * error too. in: what the stages before have left of what it reads, by the order of tensors, as balls or,
 * where it is exposed, the tensor in slots; NULL for a stage that reads none of another's: x has a row a
 * token. A stage that knows no bounds leaves an infinite `sure`. */
typedef mp_status mp_span_stage(mp_span *span, const mp_balls *in, mp_balls *out, mp_error *err);
#define MP_PROPAGATE_STAGE(stage, scope, name) mp_span_stage mp_propagate_##name;
MP_STAGES(MP_PROPAGATE_STAGE)
#undef MP_PROPAGATE_STAGE

#endif
