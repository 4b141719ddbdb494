/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/floors.h"

#include "cases/figures.h"
#include "cases/graph_tables.h"
#include "cases/scheme.h"
#include "harness/judge/judge.h"

#include <string.h>

static double bytes_of(const mp_case *c, mp_tensor_set set) {
    double bytes = 0;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(set & MP_IN_SET(id))) continue;
        const mp_tensor t = mp_case_shape(c, (mp_tensor_id)id, 16);
        bytes += (double)mp_tensor_bytes(&t);
    }
    return bytes;
}

mp_status mp_phase_floors(const mp_case *c, const mp_cpu_rates *rates, double seconds[MP_PHASE_COUNT],
                          mp_error *err) {
    mp_figures figures;
    memset(seconds, 0, MP_PHASE_COUNT * sizeof *seconds);
    if (c->data == MP_FROM_FILE) return MP_OK;
    const mp_status status = mp_figures_of(c, &figures, err);
    if (status != MP_OK) return status;
    const double inputs = bytes_of(c, mp_case_inputs(c)) / rates->copied_bytes,
                 outputs = bytes_of(c, mp_case_outputs(c)) / rates->copied_bytes;
    double terms = 0; /* of the sums that a slot has */
    if (mp_case_has_stage(c, MP_GATE_UP)) terms += (double)(mp_case_w1_rows(c) * c->K);
    if (mp_case_has_stage(c, MP_DOWN)) terms += (double)(c->N * c->K);
    const double gemms = rates->dgemm > 0 ? 2 * (double)figures.routed * terms / rates->dgemm : 0;
    seconds[MP_PHASE_INPUTS] = seconds[MP_PHASE_DIGEST] = seconds[MP_PHASE_UPLOAD] = inputs;
    seconds[MP_PHASE_DOWNLOAD] = seconds[MP_PHASE_COMPARE] = outputs;
    seconds[MP_PHASE_RUN] = seconds[MP_PHASE_PREDICT] = gemms;
    seconds[MP_PHASE_JUDGE] = 2 * gemms;
    const double measured = c->M > MP_END_TO_END_TOKENS ? (double)MP_END_TO_END_TOKENS / (double)c->M : 1;
    seconds[MP_PHASE_MODEL] = mp_scheme_of(c)->quantises_activations ? 4 * gemms : measured * gemms;
    return MP_OK;
}
