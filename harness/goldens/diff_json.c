/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/goldens/diff_text.h"
#include "harness/wire.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static json_t *hex(uint64_t digest) {
    char text[24];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    return json_string(text);
}

/* Bins without an element are left out. */
static json_t *ulps_json(const int64_t ulps[MP_ULP_BINS]) {
    json_t *json = json_object();
    for (int bin = 0; bin < MP_ULP_BINS; bin++) {
        char name[32];
        mp_ulp_bin_text(bin, name);
        if (ulps[bin] > 0) json_object_set_new(json, name, json_integer(ulps[bin]));
    }
    return json;
}

static json_t *tensor_json(mp_tensor_id id, bool input, const mp_tensor_diff *d) {
    static const char *const states[] = {
        [MP_TENSOR_ABSENT] = "absent",
        [MP_TENSOR_EQUAL] = "equal",
        [MP_TENSOR_DIFFERS] = "differs",
        [MP_TENSOR_OTHER_SHAPE] = "other shape",
        [MP_TENSOR_ONLY_A] = "only in a",
        [MP_TENSOR_ONLY_B] = "only in b",
        [MP_TENSOR_NOT_COMPARED] = "not compared",
    };
    json_t *json = json_pack("{s:s, s:b, s:s, s:s}", "tensor", mp_tensor_name(id), "input", (int)input,
                             "stage", mp_stage_name(d->stage), "state", states[d->state]);
    if (d->text[0]) json_object_set_new(json, "text", mp_json_text(d->text));
    if (d->state != MP_TENSOR_DIFFERS) return json;
    json_object_set_new(json, "digest", json_boolean(d->digest));
    json_object_set_new(json, "rows", json_integer(d->rows));
    json_object_set_new(json, "differing_rows", json_integer(d->differing_rows));
    if (d->crowded_groups > 0) json_object_set_new(json, "crowded_groups", json_integer(d->crowded_groups));
    if (d->differing_elements == 0) return json;
    json_object_set_new(json, "pattern", mp_json_text(d->pattern));
    json_object_set_new(json, "elements", json_integer(d->elements));
    json_object_set_new(json, "differing_elements", json_integer(d->differing_elements));
    json_object_set_new(json, "max_abs", isfinite(d->max_abs) ? json_real(d->max_abs) : json_null());
    json_object_set_new(json, "max_ulps", d->max_ulps == INT64_MAX ? json_null() : json_integer(d->max_ulps));
    json_object_set_new(json, "ulps", ulps_json(d->ulps));
    if (d->experts[0]) {
        json_object_set_new(json, "experts", mp_json_text(d->experts));
        json_object_set_new(json, "experts_touched", json_integer(d->experts_touched));
    }
    if (d->tiles > 0) {
        json_object_set_new(json, "tiles", json_integer(d->tiles));
        json_object_set_new(json, "tiles_touched", json_integer(d->tiles_touched));
    }
    return json;
}

static json_t *tensors_json(const mp_case_diff *d) {
    json_t *tensors = json_array();
    for (int input = 1; input >= 0; input--)
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_tensor_diff *t = input ? &d->input[id] : &d->trace[id];
            if (t->state != MP_TENSOR_ABSENT)
                json_array_append_new(tensors, tensor_json((mp_tensor_id)id, input, t));
        }
    return tensors;
}

static void set_change(json_t *json, const char *name, const char *was, const char *is) {
    json_object_set_new(json, name, json_pack("{s:o, s:o}", "a", mp_json_text(was), "b", mp_json_text(is)));
}

json_t *mp_case_diff_json(const mp_case_diff *d) {
    json_t *json = json_object();
    json_object_set_new(json, "a", d->a ? mp_json_text(d->a->name) : json_null());
    json_object_set_new(json, "b", d->b ? mp_json_text(d->b->name) : json_null());
    json_object_set_new(json, "equal", json_boolean(d->equal));
    if (d->equal || !d->a || !d->b) return json;
    if (d->contract) set_change(json, "contract", d->a->contract, d->b->contract);
    if (d->config) set_change(json, "config", d->a->config, d->b->config);
    if (d->block_size_m)
        json_object_set_new(json, "block_size_m",
                            json_pack("{s:i, s:i}", "a", d->a->block_size_m, "b", d->b->block_size_m));
    if (d->inputs)
        json_object_set_new(
            json, "inputs_digest",
            json_pack("{s:o, s:o}", "a", hex(d->a->inputs_digest), "b", hex(d->b->inputs_digest)));
    json_object_set_new(json, "tensors", tensors_json(d));
    return json;
}

json_t *mp_diff_counts_json(const mp_diff_counts *n) {
    json_t *stages = json_object();
    for (int s = 0; s < MP_STAGE_COUNT; s++) {
        const mp_stage_counts *stage = &n->stage[s];
        if (stage->tensors == 0) continue;
        json_object_set_new(stages, mp_stage_name((mp_stage)s),
                            json_pack("{s:I, s:I, s:I, s:I, s:o}", "tensors", (json_int_t)stage->tensors,
                                      "differing_tensors", (json_int_t)stage->differing_tensors, "elements",
                                      (json_int_t)stage->elements, "differing_elements",
                                      (json_int_t)stage->differing_elements, "ulps", ulps_json(stage->ulps)));
    }
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "fill_version_differs", (int)n->fill_version,
                     "aligned", (json_int_t)n->aligned, "equal", (json_int_t)n->equal, "differing",
                     (json_int_t)n->differing, "only_a", (json_int_t)n->only_a, "only_b",
                     (json_int_t)n->only_b, "stages", stages);
}

json_t *mp_golden_json(const mp_golden *golden) {
    const mp_provenance *who = mp_golden_provenance(golden);
    uint64_t root;
    json_t *json = json_pack("{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "path",
                             mp_json_path(mp_golden_path(golden)), "fill_version",
                             mp_golden_fill_version(golden), "version", mp_json_text(who->version), "commit",
                             mp_json_text(who->commit), "subject", mp_json_text(who->subject), "device",
                             mp_json_text(who->device), "versions", mp_json_text(who->versions), "date",
                             mp_json_text(who->date), "origin", mp_json_text(who->origin));
    json_object_set_new(json, "root", mp_golden_root(golden, &root) ? hex(root) : json_null());
    return json;
}
