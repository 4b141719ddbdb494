/* SPDX-License-Identifier: Apache-2.0 */
/* Some slots of a GEMM, computed by two engines. */
#ifndef MP_OFFLOAD_CROSS_CHECK_H
#define MP_OFFLOAD_CROSS_CHECK_H

#include "offload/pieces.h"
#include "ref/engine.h"

enum { MP_CROSS_CHECKED = 4 /* slots of a GEMM */, MP_TILE_RESULTS = 5 };

typedef struct mp_cross_check {
    const mp_gemm_problem *problem;
    bool with_mass;
    int64_t count, slot[MP_CROSS_CHECKED];
    int64_t seen;    /* results that mp_cross_check_take was shown */
    double *results; /* [count, MP_TILE_RESULTS, n] */
} mp_cross_check;

/* The results of a tile, in the order value, mass, sure, det, random; NULL what it has not. */
void mp_tile_results(const mp_gemm_tile *tile, const double *results[MP_TILE_RESULTS]);

/* Chooses at most `most` places among 0 .. count, spread over all of them, other ones for another `which`;
 * returns how many. */
int64_t mp_cross_check_choose(int64_t count, uint64_t which, int64_t most, int64_t *place);
/* The same among those of 0 .. count that `is_one` says are meant. */
int64_t mp_cross_check_choose_those(int64_t count, bool (*is_one)(const void *ctx, int64_t index),
                                    const void *ctx, uint64_t which, int64_t most, int64_t *chosen);
/* The same of the rows of blocks, at most `most` of them. Where weights are large to decode, or to make, and
 * that is nearly all that a CPU then does, the rows are of two experts at most, other ones for another
 * `which`. */
int64_t mp_cross_check_rows(const mp_gemm_problem *problem, const mp_row_block *blocks, int64_t count,
                            uint64_t which, int64_t most, int64_t *row);
/* Slots that are computed, each once. Ended by the caller, after an error too. MP_EMEMORY only. */
mp_status mp_cross_check_begin(mp_cross_check *check, const mp_gemm_problem *problem, bool with_mass,
                               const int64_t *slots, int64_t count, mp_error *err);
/* Whether it is one of them. */
bool mp_cross_check_has(const mp_cross_check *check, int64_t slot);
/* Keeps what a tile has of them; from several threads at once. */
void mp_cross_check_take(mp_cross_check *check, const mp_gemm_tile *tile);
/* Computes them again by `engine`. With u = 2^-53 both sums are within K*u/(1-K*u) of the exact one, times
 * the sum of magnitudes; products that underflow lose 2^-1074 each. MP_EDEVICE says which sums are further
 * apart, or were never shown. */
mp_status mp_cross_check_compare(const mp_cross_check *check, const mp_engine *engine, mp_error *err);
void mp_cross_check_end(mp_cross_check *check);

#endif
