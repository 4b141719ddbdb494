/* Micro-kernels of the tensor-core GEMM: a block of rows of a by a panel of columns of w, bit-identical to mp_tc_dot on scaled operands.
 *
 * The model is invariant under powers of two as long as no result leaves the normal numbers. So every row of a and every column of w is scaled to a largest
 * exponent of 0, and all a kernel ever meets is harmless: products below 4, exponents in a byte, sums that float32 holds without subnormals. One step is
 *   e     = max(e_floor, exponent of acc, exponents of the products)           exponents as bytes: one vector instruction covers a whole panel
 *   sum   = trunc(acc * 2^(F-e)) + sum_k trunc(a[k]*w[k] * 2^(F-e))            products are exact in float32, truncations are conversions to int32
 *   acc   = sum cut to 24 bits * 2^(e-F)
 * A kernel reports where that may be wrong: a step whose products are all at or below the floor, and an int32 overflow. */
#ifndef MP_REF_TENSORCORE_KERNELS_H
#define MP_REF_TENSORCORE_KERNELS_H

#include <stdint.h>

/* Exponents are stored as bytes so that a's plus w's is the biased float32 exponent of the product, or at most 0 when one of them is zero:
 *   a: -63..0, zero -128     w: 64..127, zero 0     (a nonzero number below 2^-63 is stored as 2^-63: its product is at or below the floor)
 * The floor is 64, or 2^-63: a step's exponent is exact above it. */
enum { MP_TC_FLOOR = 64, MP_TC_LOWEST = -63, MP_TC_ZERO_A = -128, MP_TC_ZERO_W = 0 };

enum { MP_TC_MAX_ROWS = 16, MP_TC_MAX_COLUMNS = 64 };

typedef enum mp_tc_doubt { MP_TC_AT_FLOOR = 1, MP_TC_OVERFLOW = 2 } mp_tc_doubt;

typedef struct mp_tc_block {
    int group, fraction_bits;    /* the model's; group * 4 * 2^fraction_bits must not exceed 2^31 */
    int64_t groups, rows;        /* k = groups * group; rows: at most MP_TC_MAX_ROWS */
    const float *a;              /* row r at a + r*row_stride, [k] */
    const int32_t *a_exponent;   /* the same for exponents; four equal bytes each */
    int64_t row_stride;          /* elements */
    const float *w;              /* [k, columns] */
    const int8_t *w_exponent;    /* [k, columns] */
    float *acc;                  /* [rows, columns], zero at first */
    uint8_t *doubt;              /* [rows, columns], zero at first: which doubts a result is under */
} mp_tc_block;

typedef struct mp_tc_kernel {
    const char *name;
    int columns;
    void (*run)(const mp_tc_block *block);
} mp_tc_kernel;

/* Kernels this CPU can run, fastest first; the last one is portable. Returns their number. */
int mp_tc_kernels(const mp_tc_kernel **kernels);

#endif
