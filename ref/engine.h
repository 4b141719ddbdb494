/* SPDX-License-Identifier: Apache-2.0 */
/* What computes the grouped GEMMs of the truth and of the prediction, and may measure, compare, or compute
 * the whole output where its numbers lie: a handful of functions that are given to whoever needs one. All
 * engines compute the same thing (ref/gemm.h, ref/predict/scaling.h) and are tested against each other.
 *
 * The CPU has two: plain loops (the definition), and OpenBLAS. A GPU has another one (offload/). */
#ifndef MP_REF_ENGINE_H
#define MP_REF_ENGINE_H

#include "cases/scheme.h"
#include "moeparity/contract.h"
#include "moeparity/inputs.h"
#include "ref/activation.h"
#include "ref/ball_rules.h"
#include "ref/combine.h"
#include "ref/gemm.h"
#include "ref/quant.h"

/* What is measured against the sums of a GEMM: how each is expected, and where its stored number lies. */
typedef struct mp_gemm_screen {
    const mp_tensor *got;   /* rows of n columns, of a float format of 32 bits at most */
    const int64_t *got_row; /* [slots] row of got for each slot; NULL: the slot itself */
    const mp_epilogue *epilogue;
    mp_stored stored; /* got's format */
    mp_gemm_rule rule;
} mp_gemm_screen;

struct mp_engine {
    void *state; /* the engine's own; NULL: it has none */
    /* What a report says judged: "plain loops", "OpenBLAS 0.3.21 SkylakeX". Lives as long as the engine. */
    const char *(*name)(const mp_engine *self);
    /* As mp_gemm_float64, which calls it. */
    mp_status (*gemm_float64)(const mp_engine *self, const mp_gemm_problem *problem, bool with_mass,
                              mp_gemm_visit visit, void *ctx, mp_error *err);
    /* The same with masses, of a problem without radii, which is measured where it is summed. Parts of rows
     * in which every element is plain and within its bound (ref/measured.h) may come as figures alone,
     * without value and mass. Some of these come with both, to be measured again: of whatever the engine
     * does at a time, in its first and its last row at least. All others come as ever, without figures.
     * NULL: it measures nothing. MP_EUNSUPPORTED: not this one, and nothing was visited. */
    mp_status (*measure_gemm)(const mp_engine *self, const mp_gemm_problem *problem,
                              const mp_gemm_screen *screen, mp_gemm_visit visit, void *ctx, mp_error *err);
    /* Figures of all slots of an activation, and of all tokens of a combine [M], by the operations of
     * ref/activated.h, combined.h and measured.h. A row of which not all elements passed has none that mean
     * anything else. The caller measures some of them again. NULL, or MP_EUNSUPPORTED: it measures them
     * all. */
    mp_status (*measure_act)(const mp_engine *self, const mp_act_screen *screen, mp_row_figures *figures,
                             mp_error *err);
    mp_status (*measure_combine)(const mp_engine *self, const mp_combine_screen *screen,
                                 mp_row_figures *figures, mp_error *err);
    /* Of codes (ref/quant.h): what the groups of all rows have in common, [rows, groups of a row], and
     * figures of all rows. The rest is as above. Both are there, or neither. */
    mp_status (*see_groups)(const mp_engine *self, const mp_quant_pass *pass, mp_quant_seen *seen,
                            mp_error *err);
    mp_status (*measure_quant)(const mp_engine *self, const mp_quant_screen *screen,
                               mp_quant_figures *figures, mp_error *err);
    /* As mp_predict_scaled_gemm; of a case without quantised experts the scheme is that of MP_QUANT_NONE, and
     * dtype the case's. NULL: the engine predicts nothing. MP_EUNSUPPORTED: not this GEMM, and out is
     * unchanged; in both cases the CPU predicts it. */
    mp_status (*predict_gemm)(const mp_engine *self, const mp_gemm_contract *contract,
                              const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                              const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *out,
                              mp_error *err);
    /* Whether `got` has the bits that predict_gemm would store in the rows of slots, those of filtered slots
     * aside: looked at where they are predicted. NULL: nowhere. MP_EUNSUPPORTED: not of this GEMM. */
    mp_status (*confirm_gemm)(const mp_engine *self, const mp_gemm_contract *contract,
                              const mp_scheme *scheme, mp_dtype dtype, const mp_gemm_problem *problem,
                              const mp_epilogue *epilogue, const int64_t *out_row, const mp_tensor *got,
                              bool *equal, mp_error *err);
    /* The same of an activation and of a combine: as mp_predict_activated and mp_predict_combined store
     * it. */
    mp_status (*confirm_act)(const mp_engine *self, const mp_act_bits *bits, const mp_tensor *got,
                             bool *equal, mp_error *err);
    mp_status (*confirm_combine)(const mp_engine *self, const mp_combine_bits *bits, const mp_tensor *got,
                                 bool *equal, mp_error *err);
    /* And of codes: as mp_predict_quantised stores them. Rows that lie nowhere aside. */
    mp_status (*confirm_quant)(const mp_engine *self, const mp_quant_bits *bits, bool *equal, mp_error *err);
    /* The final output of all stages beside what mp_ref_exact has for all tokens: figures [c->M], of all
     * elements of a token. With `rules`, of a case whose activations are quantised, the same beside balls
     * that were made by them: bounds [c->M], whose elements are numbered within the token; NULL: without, and
     * bounds is not written. Nobody has compared them with anything yet: the caller does, for some tokens.
     * NULL: the engine has none. MP_EUNSUPPORTED: not of this case, or not enough memory, and figures hold
     * anything; in both cases they are made of what mp_ref_exact gives. */
    mp_status (*end_to_end)(const mp_engine *self, const mp_case *c, const mp_inputs *in,
                            const mp_tensor *out, const mp_ball_rules *rules, mp_token_figures *figures,
                            mp_bound_figures *bounds, mp_error *err);
};

extern const mp_engine mp_engine_plain, mp_engine_blas;
/* OpenBLAS where it can be loaded, else plain loops. */
const mp_engine *mp_engine_of_cpu(void);

#endif
