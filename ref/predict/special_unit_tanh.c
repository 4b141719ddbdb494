/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/special_unit_tanh.h"

#include "ref/predict/float32_math.h"

#include <stdint.h>

#define FRACTION_BITS 23
#define FRACTION ((1u << FRACTION_BITS) - 1)
#define LOOKED_AT 17   /* bits of d */
#define SQUARE_FROM 19 /* lower columns of d^2 are left out */
#define UNIT 39        /* of sums, slopes and bends: 2^-39 */

enum { LOWEST = -8, BINADES = 11 }; /* of 2^-8 to 2^2 */

typedef struct segment {
    uint32_t start; /* float32 bits of the result where it begins */
    int32_t slope;  /* for each d */
    int32_t bend;   /* for each 2^SQUARE_FROM of d^2, downwards */
} segment;

static const segment segments[] = {
    /* 2^-8 */
    {0x3B800000, 16384, 2},
    /* 2^-7 */
    {0x3BFFFF00, 32766, 12},
    /* 2^-6 */
    {0x3C7FFB00, 65524, 104},
    /* 2^-5 */
    {0x3CFFEAC0, 65476, 164},
    {0x3D3FDC20, 65394, 220},
    /* 2^-4 */
    {0x3D7FAAC0, 130584, 1272},
    {0x3DBF7060, 129952, 1776},
    /* 2^-3 */
    {0x3DFEACD0, 129064, 2236},
    {0x3E1EB5D8, 127944, 2704},
    {0x3E3DC7F0, 126592, 3160},
    {0x3E5C7E80, 125012, 3564},
    /* 2^-2 */
    {0x3E7ACBC0, 246544, 16552},
    {0x3E9AFC98, 238240, 19296},
    {0x3EB77A80, 228572, 21488},
    {0x3ED2B940, 217804, 23152},
    /* 2^-1 */
    {0x3EEC9A50, 412568, 98592},
    {0x3F0DFA50, 362992, 100608},
    {0x3F229968, 312504, 96608},
    {0x3F343388, 264088, 88688},
    /* 2^0 */
    {0x3F42F848, 219688, 78584},
    {0x3F4F2EB8, 180408, 67824},
    {0x3F592988, 146536, 57152},
    {0x3F613CB4, 118004, 47384},
    {0x3F67B820, 94360, 38736},
    {0x3F6CE3C4, 75040, 31376},
    {0x3F70FE38, 59400, 25152},
    {0x3F743C7C, 46864, 20072},
    /* 2^1 */
    {0x3F76CAA0, 36874, 15946},
    {0x3F78CCC1, 28942, 12590},
    {0x3F7A6005, 22674, 9898},
    {0x3F7B9BCD, 17746, 7784},
    {0x3F7C92D1, 13870, 6094},
    {0x3F7D53D5, 10835, 4776},
    {0x3F7DEA8F, 8457, 3734},
    {0x3F7E602D, 6599, 2920},
    {0x3F7EBBEE, 5146, 2278},
    {0x3F7F037A, 4012, 1778},
    {0x3F7F3B40, 3127, 1386},
    {0x3F7F66B9, 2437, 1082},
    {0x3F7F8898, 1899, 842},
    {0x3F7FA2FD, 1479, 654},
    {0x3F7FB78D, 1152, 508},
    {0x3F7FC792, 897, 394},
    /* 2^2 */
    {0x3F7FD430, 2636, 3504},
    {0x3F7FEFE0, 972, 1296},
    {0x3F7FFA10, 356, 464},
    {0x3F7FFDD0, 132, 176},
    {0x3F7FFF34, 48, 64},
    {0x3F7FFFB4, 20, 32},
    {0x3F7FFFE4, 8, 16},
    {0x3F7FFFF4, 4, 8},
};

/* Of each binade, from 2^-8 on: its first segment, and by how many leading bits it is cut. */
static const struct {
    int first, bits;
} binades[BINADES] = {{0, 0},  {1, 0},  {2, 0},  {3, 1},  {5, 1}, {7, 2},
                      {11, 2}, {15, 2}, {19, 3}, {27, 4}, {43, 3}};

/* d^2 without its columns below 2^SQUARE_FROM, in units of it: the products of two bits i < j, which count
 * 2^(i+j+1), and the squares of bits, 2^2i. */
static int64_t square(uint32_t d) {
    int64_t sum = 0;
    for (int i = 0; i < LOOKED_AT; i++) {
        if (!(d >> i & 1)) continue;
        const int others = i + 1 > SQUARE_FROM - 1 - i ? i + 1 : SQUARE_FROM - 1 - i;
        sum += (int64_t)(d >> others << others) << (i + 1);
        if (2 * i >= SQUARE_FROM) sum += INT64_C(1) << 2 * i;
    }
    return sum >> SQUARE_FROM;
}

/* A sum, which float64 holds, cut to the 24 bits of a float32. */
static float cut(int64_t sum) {
    const double exact = ldexp((double)sum, -UNIT);
    uint64_t bits;
    memcpy(&bits, &exact, sizeof bits);
    bits = bits >> (52 - FRACTION_BITS) << (52 - FRACTION_BITS);
    double kept;
    memcpy(&kept, &bits, sizeof kept);
    return (float)kept;
}

float mp_tanh_approx(float x) {
    const float a = mp_absf(x);
    const uint32_t bits = mp_float_bits(a), mantissa = bits & FRACTION;
    const int binade = (int)(bits >> FRACTION_BITS) - 127 - LOWEST;
    if (x != x) return mp_bits_float(0x7FFFFFFFu);
    if (binade < 0) return x;
    if (binade >= BINADES) return mp_with_sign(1.0f, x);
    const int rest = FRACTION_BITS - binades[binade].bits;
    const segment *s = &segments[binades[binade].first + (int)(mantissa >> rest)];
    const uint32_t d = mantissa >> (rest - LOOKED_AT) & ((1u << LOOKED_AT) - 1);
    const int64_t start = (int64_t)ldexpf(mp_bits_float(s->start), UNIT);
    return mp_with_sign(cut(start + s->slope * (int64_t)d - s->bend * square(d)), x);
}
