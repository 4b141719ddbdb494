/* SPDX-License-Identifier: Apache-2.0 */
/* Operands of a tensor-core GEMM in the form of the micro-kernels: scaled by powers of two, with exponents
 * and signs apart (ref/predict/tensorcore_kernels.h says why). */
#ifndef MP_REF_TENSORCORE_PACK_H
#define MP_REF_TENSORCORE_PACK_H

#include "moeparity/tensor.h"
#include "ref/predict/tensorcore.h"
#include "ref/predict/tensorcore_kernels.h"

/* An operand's format. Its outline is what decides about scales and signs, in 16 bits for all formats: sign,
 * exponent field from `shift` on, and a fraction that is not zero when the number's is not. */
typedef struct mp_tc_operand {
    mp_dtype dtype;
    uint32_t kept;          /* bits of a code that count: tf32 drops 13 of fp32's */
    int shift, bias;        /* of the outline's exponent field */
    uint16_t first_special; /* outlines of this magnitude or more are Inf or NaN */
} mp_tc_operand;
extern const mp_tc_operand mp_tc_operands[]; /* of the float inputs of a model */

/* How rows are packed. */
typedef struct mp_tc_layout {
    const mp_tc_form *form;
    const mp_tc_operand *a, *w; /* as a step sees them */
    int group;                  /* of a step */
    int fall;                   /* binary orders that columns fall a step: see form->falls */
    int64_t K, padded_k, masks; /* of the tensors; a multiple of mp_tc_terms; of a row */
    int64_t terms;              /* codes of a row as a step sees them: K, or padded_k where they are copied */
    int64_t columns;            /* of a panel */
    /* Rows are copied, fp8 as fp16, in the order in which steps take their terms; what is not fp8 has 16
     * bits. */
    bool reordered;
    int reordered_terms; /* which change places with each other alone */
    uint16_t fp16_of_a[256], fp16_of_w[256];
} mp_tc_layout;

/* For products of K terms by `kernel`. */
void mp_tc_layout_make(mp_tc_layout *layout, const mp_tc_model *model, const mp_tc_form *form,
                       int64_t columns, int64_t K);

/* What scaling did to a row of a or a column of w.
 *   exponent  of the power of two taken out: the largest exponent, subnormals counting as the smallest normal
 *             number
 *   small     a nonzero number lies more than 31 binary orders below the largest: without one, products at
 *             the floor are zeros
 *   special   Inf or NaN: packed as zeros, its results come from the definition */
typedef struct mp_tc_scaling {
    int exponent;
    bool small, special;
} mp_tc_scaling;

/* A packed row of a begins with this; then come the scaled numbers [k], their exponents [k], the sign masks,
 * and the codes if they are copied. */
typedef struct mp_tc_row {
    mp_tc_scaling scaled;
    const char *codes; /* [terms] of layout->a */
} mp_tc_row;

/* A packed panel of w: scaled numbers [k, columns], exponents [k, columns], sign masks [masks, columns], then
 * this, and the codes if they are copied. */
typedef struct mp_tc_panel {
    mp_tc_scaling scaled[MP_TC_MAX_COLUMNS];
    double power[MP_TC_MAX_COLUMNS]; /* 2^exponent */
    int lowest, highest;             /* exponents of its columns */
    bool small, special;             /* of any column */
    const char *codes;               /* [count, terms] of layout->w */
    int64_t count;
} mp_tc_panel;

size_t mp_tc_row_bytes(const mp_tc_layout *layout);
size_t mp_tc_panel_bytes(const mp_tc_layout *layout);
void mp_tc_pack_row(const mp_tc_layout *layout, const mp_tensor *a, int64_t row, void *packed);
void mp_tc_pack_panel(const mp_tc_layout *layout, const mp_tensor *w, int64_t first, int64_t count,
                      void *packed);
const mp_tc_panel *mp_tc_panel_of(const mp_tc_layout *layout, const void *packed);

/* The block of packed operands, terms first .. first + groups*group; acc and at_floor are left to the
 * caller. */
mp_tc_block mp_tc_block_of(const mp_tc_layout *layout, const void *rows, const void *panel, int64_t first,
                           int64_t groups);

static inline const char *mp_tc_codes_at(const mp_tc_operand *o, const void *codes, int64_t index) {
    return (const char *)codes + (size_t)index * mp_dtype_size(o->dtype);
}

#endif
