/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/floors.h"

#include "cases/deferred.h"
#include "cases/figures.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "harness/phases.h"

#include <math.h>
#include <string.h>

/* `amount` at so much a second; a rate that is not known takes no time. */
static double seconds_of(double amount, double rate) {
    return rate > 0 ? amount / rate : 0;
}

/* The share of a tensor that has to be moved: of weights those of experts that have slots, of caches the rows
 * of slots that go to one. */
static double moved_share(const mp_case *c, const mp_figures *f, mp_tensor_id id) {
    const int64_t slots = mp_case_slots(c);
    if (mp_tensors[id].rows == MP_ROWS_CACHE) return slots > 0 ? (double)f->routed / (double)slots : 0;
    return id == MP_W1 || id == MP_W2 ? (double)f->experts_used / (double)c->E : 1;
}

/* Of all of the set's tensors; figures: of what has to be moved. */
static double bytes_of(const mp_case *c, mp_tensor_set set, const mp_figures *figures) {
    double bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(set & MP_IN_SET(id))) continue;
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, 16);
        const double share = figures ? moved_share(c, figures, (mp_tensor_id)id) : 1;
        bytes += share * (double)mp_tensor_bytes(&t);
    }
    return bytes;
}

/* Inputs that a GPU makes for itself: large ones of such numbers. */
static mp_tensor_set made_there(const mp_case *c) {
    const mp_tensor_set inputs = mp_case_inputs(c);
    mp_tensor_set made = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        const mp_tensor_set it = MP_IN_SET(id);
        if ((inputs & it) && mp_can_be_deferred(c, (mp_tensor_id)id) &&
            bytes_of(c, it, NULL) >= (double)MP_DEFER_FROM_BYTES)
            made |= it;
    }
    return made;
}

/* Operations of predictions on the GPU, a multiply-add a term; 0 of int8, which is summed four at a time. */
static double predicted_there(const mp_case *c, const mp_cuda_rates *rates) {
    const mp_dtype operands = mp_case_multiplied(c);
    return operands == MP_I8 ? 0 : operands == MP_FP32 ? rates->float32 : rates->float64;
}

/* All stages, on the GPU. */
static double run_there(const mp_case *c, const mp_figures *f, const mp_cuda_rates *rates) {
    const mp_dtype operands = mp_case_multiplied(c);
    const double products = operands == MP_FP32 ? rates->float32 : rates->products[operands];
    double seconds = 0;
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage stage = (mp_stage)s;
        if (!mp_case_has_stage(c, stage)) continue;
        const mp_tensor_set moved = mp_stage_reads(c, stage) | mp_stage_writes(c, stage);
        seconds += fmax(seconds_of(bytes_of(c, moved, f), rates->copied_bytes),
                        seconds_of(2 * (double)f->routed * mp_stage_products(c, stage), products));
    }
    return seconds;
}

/* Of the tokens, what the end-to-end figures are of. */
static double measured_share(const mp_case *c, bool judge_there) {
    return !judge_there && c->M > MP_END_TO_END_TOKENS ? (double)MP_END_TO_END_TOKENS / (double)c->M : 1;
}

mp_status mp_phase_floors(const mp_case *c, const mp_floor_rates *r, double seconds[MP_PHASE_COUNT],
                          mp_error *err) {
    const mp_cuda_rates *device = &r->device;
    mp_figures figures;
    memset(seconds, 0, MP_PHASE_COUNT * sizeof *seconds);
    if (c->data == MP_FROM_FILE) return MP_OK;
    const mp_status status = mp_figures_of(c, &figures, err);
    if (status != MP_OK) return status;
    const mp_tensor_set there = r->subject_there ? made_there(c) : 0;
    const double copies = r->cpu.copied_bytes, here = bytes_of(c, mp_case_inputs(c) & ~there, NULL),
                 made = seconds_of(here, copies) + seconds_of(bytes_of(c, there, NULL), device->copied_bytes),
                 outputs = bytes_of(c, mp_case_outputs(c), NULL),
                 operations = 2 * (double)figures.routed * mp_case_products(c),
                 float64 = seconds_of(operations, r->judge_there ? device->float64 : r->cpu.dgemm);
    seconds[MP_PHASE_INPUTS] = seconds[MP_PHASE_DIGEST] = made;
    seconds[MP_PHASE_UPLOAD] = seconds_of(here, r->subject_there ? device->up_bytes : copies);
    seconds[MP_PHASE_RUN] =
        r->subject_there ? run_there(c, &figures, device) : seconds_of(operations, r->cpu.dgemm);
    seconds[MP_PHASE_LOOK] = seconds_of(outputs, r->subject_there ? device->copied_bytes : copies);
    seconds[MP_PHASE_DOWNLOAD] = seconds_of(outputs, r->subject_there ? device->down_bytes : copies);
    seconds[MP_PHASE_JUDGE] = 2 * float64;
    seconds[MP_PHASE_MODEL] =
        (mp_scheme_of(c)->quantises_activations ? 4 : measured_share(c, r->judge_there)) * float64;
    seconds[MP_PHASE_PREDICT] =
        seconds_of(operations, r->judge_there ? predicted_there(c, device) : r->cpu.dgemm);
    seconds[MP_PHASE_COMPARE] = seconds_of(outputs, r->judge_there ? device->copied_bytes : copies);
    return MP_OK;
}
