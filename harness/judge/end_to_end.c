/* SPDX-License-Identifier: Apache-2.0 */
/* The final output against float64 from the inputs. Each stage's own figures do not add up to this one. */
#include "harness/judge/judge.h"
#include "harness/judge/judge_stage.h"
#include "harness/progress.h"
#include "ref/pipeline.h"

#include <math.h>

/* Final output against the exact pipeline, in slabs of tokens whose float64 intermediates take at most this
 * much. */
enum { END_TO_END_BYTES = 256 << 20 };

static mp_status measure(const mp_judgement *j, mp_error *err) {
    const mp_case *c = j->c;
    const mp_tensor *got = &j->t[MP_OUT];
    if (c->M == 0) return MP_OK;
    const int64_t per_token = c->topk * (mp_case_w1_rows(c) + c->N + 2 * c->K) * (int64_t)sizeof(double);
    int64_t slab = END_TO_END_BYTES / per_token;
    slab = slab < 1 ? 1 : slab > c->M ? c->M : slab;
    const int64_t width = mp_tensor_count(got) / c->M; /* elements of a token */
    mp_tensor exact = c->mode == MP_MODE_NO_COMBINE ? mp_tensor_shape(MP_FP64, 3, slab, c->topk, c->K)
                                                    : mp_tensor_shape(MP_FP64, 2, slab, c->K, 1);
    mp_status status = mp_tensor_alloc(&exact, MP_POISON_A, err);
    mp_stage_figures f = {.worst_index = -1};
    for (int64_t first = 0; status == MP_OK && first < c->M; first += slab) {
        const int64_t count = c->M - first < slab ? c->M - first : slab;
        mp_tensor window = exact;
        window.dim[0] = count;
        if ((status = mp_ref_exact(c, j->in, j->engine, first, count, &window, err)) != MP_OK) break;
        const double *value = exact.data;
        double max_abs = 0, max_rms = 0;
        bool nan_seen = false;
#pragma omp parallel for reduction(max : max_abs, max_rms) reduction(|| : nan_seen) schedule(static)
        for (int64_t m = 0; m < count; m++) {
            double error2 = 0, value2 = 0;
            for (int64_t i = 0; i < width; i++) {
                const double expected = value[m * width + i],
                             stored = mp_decode(got->dtype, got->data, (first + m) * width + i);
                if (!isfinite(expected)) {
                    nan_seen = nan_seen || isfinite(stored);
                    continue;
                }
                const double error = fabs(stored - expected);
                nan_seen = nan_seen || !isfinite(error);
                max_abs = fmax(max_abs, error);
                error2 += error * error;
                value2 += expected * expected;
            }
            if (error2 > 0) max_rms = fmax(max_rms, sqrt(error2 / value2));
        }
        f.compared += count * width;
        f.max_abs = nan_seen || isnan(f.max_abs) ? NAN : fmax(f.max_abs, max_abs);
        f.max_row_rms = nan_seen || isnan(f.max_row_rms) ? NAN : fmax(f.max_row_rms, max_rms);
    }
    mp_tensor_free(&exact);
    j->v->end_to_end = f;
    return status;
}

mp_status mp_measure_end_to_end(const mp_case *c, const mp_contract *contract, const mp_inputs *in,
                                const mp_trace *trace, mp_engine engine, mp_verdict *v, mp_error *err) {
    mp_judgement j;
    if (c->scope != MP_SCOPE_ALL || !trace->t[MP_OUT].data) return MP_OK;
    mp_status status = mp_judgement_open(c, contract, NULL, in, trace, MP_POISON_A, engine, v, &j, err);
    if (status == MP_OK && !mp_judgement_lacks(&j, MP_ALL_STAGES) && mp_judgement_lost_slots(&j) == 0) {
        mp_progress("", "judge");
        status = measure(&j, err);
    }
    mp_judgement_close(&j);
    return status;
}
