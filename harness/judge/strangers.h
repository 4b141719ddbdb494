/* SPDX-License-Identifier: Apache-2.0 */
/* Private to harness/judge/: codes and scales that no quantiser, or not that of the contract, can have
 * given. */
#ifndef MP_HARNESS_STRANGERS_H
#define MP_HARNESS_STRANGERS_H

#include "harness/judge/judge_stage.h"
#include "ref/quantise.h"

/* Of a tensor; the first of them by its place. */
typedef struct mp_strangers {
    int64_t count, first, column;
    double got, low, high;
} mp_strangers;

/* One more, instead of a number in low .. high; from several threads at once. */
void mp_stranger_add(mp_strangers *of, int64_t row, int64_t column, double got, double low, double high);
/* Scales that some quantiser of the formats of this one may give, on top of q->given where that is not 0. */
mp_quant_range mp_any_scale(const mp_quantisation *q, double amax);
/* Whether a scale is one of those that may be, NaN where they are. */
bool mp_scale_fits(mp_quant_range may, double scale);
/* How many of n codes from `first` on are the last of their format. */
int64_t mp_saturated_codes(const mp_tensor *codes, int64_t first, int64_t n);
/* Fails the stage where there are any; what: "code" or "scale". */
void mp_strangers_tell(const mp_stage_judge *s, const mp_strangers *of, const char *what);
/* Of `strange` in all, in the stage's figures. */
void mp_strangers_count(const mp_stage_judge *s, int64_t strange);

#endif
