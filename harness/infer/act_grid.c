/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/act_grid.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BINADES = 8, LEAST_EXPONENT = -4, UPS_MAX = 1024 };

mp_act_grid mp_act_grid_of(mp_dtype dtype, bool gated) {
    const int significands = 1 << (mp_dtype_format(dtype)->precision - 1);
    return (mp_act_grid){
        .dtype = dtype, .gates = 2 * BINADES * significands, .ups = gated ? significands : 1};
}

double mp_act_grid_gate(const mp_act_grid *g, int64_t gate) {
    const int64_t significands = g->gates / (2 * BINADES), i = gate / 2;
    const double size = ldexp(1 + (double)(i % significands) / (double)significands,
                              (int)(i / significands) + LEAST_EXPONENT);
    return gate % 2 ? -size : size;
}

double mp_act_grid_up(const mp_act_grid *g, int64_t up) {
    return 1 + (double)up / g->ups;
}

void mp_act_grid_pair(const mp_act_grid *g, int64_t i, double pair[2]) {
    pair[0] = mp_act_grid_gate(g, i / g->ups);
    pair[1] = mp_act_grid_up(g, i % g->ups);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Which factors of `n` least and most are stored as two with. */
static void mark_products(mp_dtype dtype, float least, float most, const float *factor, int n,
                          uint8_t *marked) {
    float product[UPS_MAX] = {0};
    uint16_t least_code[UPS_MAX], most_code[UPS_MAX];
    for (int j = 0; j < n; j++) product[j] = least * factor[j];
    mp_encode_row_f32(dtype, least_code, 0, n, product);
    for (int j = 0; j < n; j++) product[j] = most * factor[j];
    mp_encode_row_f32(dtype, most_code, 0, n, product);
    for (int j = 0; j < n; j++) marked[j] |= least_code[j] != most_code[j];
}

/* Rounding keeps the order: what lies between two products that are stored as one is stored as this one, too.
 * `room` is for what was rounded before. */
void mp_act_grid_mark(const mp_act_grid *g, float *value, int values, const float *factor, uint8_t *marked) {
    static const float room = 0x1p-22f, alone = 1;
    const float near = (float)mp_unit_roundoff(g->dtype) * 0x1p-3f;
#pragma omp parallel for schedule(static)
    for (int gate = 0; gate < g->gates; gate++) {
        float *v = value + (int64_t)gate * values;
        uint8_t *marks = marked + (int64_t)gate * g->ups, rounded_first = 0;
        memset(marks, 0, (size_t)g->ups);
        qsort(v, (size_t)values, sizeof *v, by_value);
        for (int first = 0, last; first < values; first = last + 1) {
            last = first;
            while (last + 1 < values && v[last + 1] - v[last] <= near * fabsf(v[last])) last++;
            const float least = v[first] - room * fabsf(v[first]), most = v[last] + room * fabsf(v[last]);
            mark_products(g->dtype, least, most, factor, g->ups, marks);
            mark_products(g->dtype, least, most, &alone, 1, &rounded_first);
        }
        if (rounded_first) memset(marks, 1, (size_t)g->ups);
    }
}
