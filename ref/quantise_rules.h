/* SPDX-License-Identifier: Apache-2.0 */
/* Private to ref/quantise*.c: each quantiser as a row of formulas. */
#ifndef MP_REF_QUANTISE_RULES_H
#define MP_REF_QUANTISE_RULES_H

#include "ref/quantise.h"

/* How a value meets the factor. */
typedef enum mp_quant_step {
    MP_STEP_TIMES,       /* fl(x * f) */
    MP_STEP_TIMES_INPUT, /* f rounded to the format of x, the product too */
    MP_STEP_OVER,        /* fl(x / f) */
    MP_STEP_OVER_ROUGH,  /* x / f to 2 ulp */
    MP_STEP_OVER_INPUT,  /* f rounded to the format of x, the quotient too */
} mp_quant_step;

typedef enum mp_quant_rounding {
    MP_ROUND_EVEN,
    MP_ROUND_AWAY,     /* halves away from zero */
    MP_ROUND_CUT,      /* towards zero */
    MP_ROUND_TIES_LOW, /* ties to the smaller magnitude; zero gets the sign bit */
} mp_quant_rounding;

/* What becomes of a NaN. */
typedef enum mp_quant_nan {
    MP_NAN_STAYS,
    MP_NAN_STAYS_OF_BF16, /* of others the largest */
    MP_NAN_LARGEST,
    MP_NAN_LOWEST,
    MP_NAN_ZERO,
    MP_NAN_ANY,
} mp_quant_nan;

typedef mp_quant_range mp_quant_scale_rule(const mp_quantisation *q, const mp_quant_unit *unit);
typedef mp_quant_range mp_quant_factor_rule(const mp_quantisation *q, const mp_quant_unit *unit,
                                            double scale);

typedef struct mp_quant_rule {
    mp_quant_scale_rule *scale;
    mp_quant_factor_rule *factor;
    mp_quant_step step;
    mp_quant_rounding rounding;
    mp_quant_nan nan;
    bool nan_spreads; /* one NaN leaves scale and codes of all open */
} mp_quant_rule;

extern const mp_quant_rule mp_quant_rules[MP_QUANTISER_COUNT];

/* ~(a / b): to 2 ulp, and by a power of two exact. */
mp_quant_range mp_quant_quotient(double a, double b);

#endif
