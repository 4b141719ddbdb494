/* SPDX-License-Identifier: Apache-2.0 */
/* How far what the steps leave is from the float32 sum, as a share of the radius that brackets give it: never
 * as much as 1, on operands that a climb makes as bad as it can. That it comes near to 1 shows that a radius
 * which is too small by an eighth would be seen. MP_TC_CLIMBS=3000 in the environment climbs for so many
 * turns instead of the usual number. */
#include "base/bits.h"
#include "ref/predict/tensorcore_bracket_pack.h"
#include "ref/predict/tensorcore_gemm.h"
#include "tests/tensorcore_support.h"

#include <math.h>
#include <stdio.h>

enum { COLUMNS = MP_TC_BRACKET_COLUMNS, ROWS = 4 }; /* of which one counts */

static int climbs_wanted(void) {
    const char *text = getenv("MP_TC_CLIMBS");
    return text ? atoi(text) : 60;
}

typedef struct climb {
    mp_tc_model model;
    mp_tc_bracket_form form;
    mp_tensor a, w; /* [1,K], [1,COLUMNS,K]: column 0 is the best so far, the others are made from it */
    rng r;
} climb;

/* Of each column, with the formula of ref/predict/tensorcore_bracket.h. False: the operands are not
 * ordinary. */
static bool shares(const climb *c, const mp_tc_kernel *kernel, double share[COLUMNS]) {
    const int64_t k = c->form.k, steps = k / c->form.step.group;
    float *rows = allocated(MP_TC_BRACKET_ROWS * k, sizeof *rows),
          *panel = allocated(COLUMNS * k, sizeof *panel);
    uint16_t *row_copies = allocated(MP_TC_BRACKET_ROWS * k, sizeof *row_copies),
             *copies = allocated(COLUMNS * k, sizeof *copies);
    float least[ROWS * COLUMNS] = {0}, sum[ROWS * COLUMNS] = {0}, sizes[ROWS * COLUMNS] = {0};
    float norm[MP_TC_BRACKET_ROWS], norms[COLUMNS];
    mp_tc_bracket_side row[MP_TC_BRACKET_ROWS], columns[COLUMNS];
    int64_t of[COLUMNS];
    for (int n = 0; n < COLUMNS; n++) of[n] = n;
    bool ordinary = mp_tc_bracket_pack(
        &c->form, &c->a, of, 1,
        &(mp_tc_bracket_panel){
            .width = MP_TC_BRACKET_ROWS, .numbers = rows, .norms = norm, .copies = row_copies, .sides = row});
    ordinary &= mp_tc_bracket_pack(
        &c->form, &c->w, of, COLUMNS,
        &(mp_tc_bracket_panel){
            .width = COLUMNS, .numbers = panel, .norms = norms, .copies = copies, .sides = columns});
    for (int n = 0; n < COLUMNS; n++) least[n] = row->power * columns[n].power;
    kernel->run_bracket(&(mp_tc_bracket_block){.group = c->form.step.group,
                                               .chain = c->form.chain,
                                               .groups = steps,
                                               .rows = ROWS,
                                               .a = rows,
                                               .w = panel,
                                               .least = least,
                                               .sum = sum,
                                               .sizes = sizes});
    for (int n = 0; n < COLUMNS && ordinary; n++) {
        const double radius = (double)c->form.of_sizes * sizes[n] +
                              (double)c->form.of_least * (double)steps * least[n] +
                              (double)c->form.of_norms * *norm * norms[n];
        const double off = fabs((double)definition(&c->model, &c->a, 0, &c->w, n) - (double)sum[n]);
        share[n] = off == 0 ? 0 : off / radius;
    }
    free(rows);
    free(panel);
    free(row_copies);
    free(copies);
    return ordinary;
}

static void put_code(const mp_tensor *t, int64_t at, double value) {
    mp_encode(t->dtype, t->data, at, value);
}

/* One product of the largest size, or one in every step, all others nearly a unit of its step. CUT: as ONCE,
 * with one product in every step that the step keeps and its result loses; float32 sums round upwards. */
typedef enum beginning { ONCE, EVERYWHERE, CUT, BEGINNINGS } beginning;

static void begin(climb *c, beginning how) {
    const int64_t K = c->a.dim[1], L = c->model.group, kept = L / 2, period = how == EVERYWHERE ? L : K;
    const bool fp8 = c->a.dtype == MP_E4M3;
    const double largest = fp8 ? 256 : 1, nearly = fp8 ? 1.875 : 2 - 0x1p-7, left = fp8 ? 0x1p-5 : 0x1p-12,
                 right = largest * largest * mp_power_of_two(-c->form.step.fraction_bits) / left,
                 of_result = c->form.step.fraction_bits > 24 ? 6.4 : 3.8;
    for (int64_t k = 0; k < K; k++) {
        put_code(&c->a, k, k % period == 0 ? largest : nearly * left / 2);
        for (int64_t n = 0; n < COLUMNS; n++)
            put_code(&c->w, n * K + k,
                     k % period == 0               ? largest
                     : how == CUT && k % L == kept ? right * of_result / nearly
                                                   : nearly * right / (fp8 || how == CUT ? 2 : 1));
    }
}

static double changed(rng *r, double value) {
    switch (random_below(r, 5)) {
    case 0: return -value;
    case 1: return 0;
    case 2: return value * 2;
    case 3: return value / 2;
    default: return value * (1 + random_unit(r) / 2);
    }
}

/* Column n from column 0: some terms of it, each alone or at its place in every step. */
static void mutate(climb *c, int64_t n) {
    const int64_t K = c->a.dim[1];
    const size_t size = mp_dtype_size(c->w.dtype);
    memcpy((char *)c->w.data + (size_t)(n * K) * size, c->w.data, (size_t)K * size);
    for (int64_t i = 1 + random_below(&c->r, 4); i > 0; i--) {
        const int64_t k = random_below(&c->r, K), step = random_below(&c->r, 2) ? c->model.group : K;
        const double value = changed(&c->r, mp_decode(c->w.dtype, c->w.data, n * K + k));
        for (int64_t at = k % step; at < K; at += step)
            if (step < K || at == k) put_code(&c->w, n * K + at, value);
    }
}

/* The largest share that was met. */
static double climbed(climb *c, const mp_tc_kernel *kernel) {
    const int64_t K = c->a.dim[1];
    const size_t column = (size_t)K * mp_dtype_size(c->w.dtype);
    double best = 0, share[COLUMNS];
    for (int turn = 0; turn < climbs_wanted(); turn++) {
        int at = 0;
        for (int64_t n = 1; n < COLUMNS; n++) mutate(c, n);
        if (!shares(c, kernel, share)) continue;
        for (int n = 0; n < COLUMNS; n++) {
            if (!(share[n] < 1))
                fail_msg("%s, %s, L=%d, K=%lld: %.4f of the radius", kernel->name, mp_dtype_name(c->a.dtype),
                         c->model.group, (long long)K, share[n]);
            if (share[n] > share[at]) at = n;
        }
        memmove(c->w.data, (const char *)c->w.data + (size_t)at * column, column);
        best = fmax(best, share[at]);
    }
    return best;
}

static const struct {
    int sm;
    mp_tc_input input;
    mp_dtype out;
    double at_least;
} CLIMBS[] = {{90, MP_TC_BF16, MP_BF16, 0.88}, {80, MP_TC_BF16, MP_BF16, 0.7},
              {90, MP_TC_FP16, MP_FP16, 0.88}, {80, MP_TC_FP16, MP_FP16, 0.7},
              {90, MP_TC_E4M3, MP_BF16, 0.25}, {90, MP_TC_E4M3, MP_FP16, 0.25}};

static void climbs_end_within_the_radius(void **state) {
    (void)state;
    const mp_tc_kernel *kernels;
    const int count = mp_tc_kernels(&kernels);
    for (int i = 0; i < count; i++)
        for (size_t m = 0; m < COUNT(CLIMBS); m++) {
            double best = 0;
            if (!kernels[i].run_bracket) continue;
            for (int64_t K = 32; K <= 2048; K *= 4)
                for (beginning how = K > 512 ? CUT : ONCE; how < BEGINNINGS; how++) {
                    climb c = {.r = {(uint64_t)(21 + K)}};
                    assert_true(
                        mp_tc_find(CLIMBS[m].sm, MP_TC_MMA, CLIMBS[m].input, CLIMBS[m].input, &c.model));
                    c.form = mp_tc_bracket_form_of(&c.model, 0, K, CLIMBS[m].out);
                    c.a = allocated_tensor(SHAPES[CLIMBS[m].input].dtype, 1, K, 0);
                    c.w = allocated_tensor(SHAPES[CLIMBS[m].input].dtype, 1, COLUMNS, K);
                    begin(&c, how);
                    best = fmax(best, climbed(&c, &kernels[i]));
                    mp_tensor_free(&c.a);
                    mp_tensor_free(&c.w);
                }
            printf("%s, %s of sm_%d stored as %s: %.3f of the radius\n", kernels[i].name,
                   mp_dtype_name(SHAPES[CLIMBS[m].input].dtype), CLIMBS[m].sm, mp_dtype_name(CLIMBS[m].out),
                   best);
            assert_true(best > CLIMBS[m].at_least);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(climbs_end_within_the_radius)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
