/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/leave.h"

#include "cases/edit.h"
#include "cases/graph_tables.h"
#include "files/export.h"
#include "harness/progress.h"
#include "harness/run/ask.h"
#include "harness/run/message.h"
#include "harness/subjects/surroundings.h"
#include "ref/contract_words.h"
#include "ref/engine.h"
#include "ref/predict/predict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The stage's output, by an executor, from what is there: stages before it whose output nobody shows are made
 * on the way. In float64, or in the tensors' own formats. *result is the caller's to free. */
static mp_status compute(const mp_executor *executor, const mp_case *case_of, bool in_float64, int stage,
                         const mp_trace *trace, const mp_tensor there[MP_TENSOR_COUNT], mp_tensor *result,
                         mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT], made[MP_TENSOR_COUNT] = {0};
    mp_case c = *case_of;
    mp_status status = MP_OK;
    memcpy(t, there, sizeof t);
    if (!t[MP_SORTED_TOKEN_IDS].data) c.layout = MP_ROUTE; /* nobody sees the rows of what is made here */
    for (int s = MP_GATE_UP; s <= stage && status == MP_OK; s++) {
        if (!mp_case_has_stage(&c, (mp_stage)s)) continue;
        const mp_tensor_id out = mp_stage_output(&c, (mp_stage)s);
        if (s < stage && t[out].data) continue;
        made[out] = mp_case_shape(&c, out, trace->block_size_m);
        if (in_float64) made[out].dtype = MP_FP64;
        if ((status = mp_tensor_alloc(&made[out], MP_POISON_A, err)) != MP_OK) break;
        t[out] = made[out];
        status = mp_execute(executor, &c, (mp_stage)s, (mp_stage)s, trace->block_size_m, t, err);
    }
    const mp_tensor_id out = mp_stage_output(&c, (mp_stage)stage);
    *result = made[out];
    made[out] = (mp_tensor){0};
    for (int id = 0; id < MP_TENSOR_COUNT; id++) mp_tensor_free(&made[id]);
    return status;
}

static mp_status compute_align(const mp_case *c, const mp_trace *trace,
                               const mp_tensor there[MP_TENSOR_COUNT], mp_tensor made[MP_TENSOR_COUNT],
                               mp_error *err) {
    mp_tensor t[MP_TENSOR_COUNT];
    mp_reference reference = {.engine = &mp_engine_plain};
    const mp_executor executor = mp_reference_executor(&reference);
    mp_status status = MP_OK;
    memcpy(t, there, sizeof t);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++) {
        if (!(mp_stages[MP_ALIGN].writes & mp_case_outputs(c) & MP_IN_SET(id))) continue;
        made[id] = mp_case_shape(c, (mp_tensor_id)id, trace->block_size_m);
        status = mp_tensor_alloc(&made[id], MP_POISON_A, err);
        t[id] = made[id];
    }
    return status == MP_OK ? mp_execute(&executor, c, MP_ALIGN, MP_ALIGN, trace->block_size_m, t, err)
                           : status;
}

static int last_stage(const mp_case *c) {
    int last = MP_ALIGN;
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s)) last = s;
    return last;
}

/* The arrays beside the case's own: at most MP_EXPORT_EXTRAS, with names in `names`, tensors to be freed. */
static mp_status add_expected(const mp_case *c, const mp_contract *contract, int stage, const mp_trace *trace,
                              const mp_tensor t[MP_TENSOR_COUNT], mp_export *e, char names[][48],
                              mp_error *err) {
    mp_reference reference = {.engine = &mp_engine_plain};
    mp_prediction prediction = {.contract = contract};
    const mp_executor exact = mp_reference_executor(&reference), bits = mp_predict_executor(&prediction);
    const char *why, *name = mp_tensor_name(mp_stage_output(c, (mp_stage)stage));
    if (stage == MP_ALIGN) {
        mp_tensor made[MP_TENSOR_COUNT] = {0};
        const mp_status status = compute_align(c, trace, t, made, err);
        for (int id = 0, n = 0; id < MP_TENSOR_COUNT && n < MP_EXPORT_EXTRAS; id++) {
            if (!made[id].data) continue;
            snprintf(names[n], 48, "expected_%.30s", mp_tensor_name((mp_tensor_id)id));
            e->extra[n] = (mp_export_extra){names[n], made[id]};
            n++;
        }
        return status;
    }
    snprintf(names[0], 48, "expected_%.30s", name);
    snprintf(names[1], 48, "predicted_%.30s", name);
    e->extra[0].name = names[0];
    e->extra[1].name = names[1];
    mp_status status = compute(&exact, c, true, stage, trace, t, &e->extra[0].t, err);
    bool predictable = true;
    for (int s = 0; s <= stage; s++) {
        const bool made =
            mp_case_has_stage(c, (mp_stage)s) && (s == stage || !t[mp_stage_output(c, (mp_stage)s)].data);
        if (s != MP_ALIGN && made)
            predictable = predictable && mp_predictable(contract, c, (mp_stage)s, &why);
    }
    if (status == MP_OK && predictable)
        status = compute(&bits, c, false, stage, trace, t, &e->extra[1].t, err);
    return status;
}

mp_status mp_leave_case(mp_setup *setup, const mp_matrix_row *row, const mp_leave_options *options,
                        mp_error *err) {
    const mp_case *c = &row->c;
    const int stage = options->stage >= 0 ? options->stage : last_stage(c);
    char text[MP_CASE_TEXT_MAX], names[MP_EXPORT_EXTRAS][48];
    mp_export_format format;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_offer offer;
    mp_surroundings_report report;
    mp_tensor t[MP_TENSOR_COUNT];
    mp_text contract = {0};
    mp_case_text(c, text, sizeof text);
    mp_export e = {.case_text = text};
    if (!mp_export_format_of_path(options->path, &format) || format == MP_EXPORT_RAW)
        return mp_fail(err, MP_EINPUT, "%s: expected a name that ends in .npz or .h5", options->path);
    if (!mp_case_has_stage(c, (mp_stage)stage))
        return mp_fail(err, MP_EINPUT, "%s: it has no stage %s", text, mp_stage_name((mp_stage)stage));
    mp_progress("", "run");
    mp_status status = mp_subject_describe(&setup->subject, c, &offer, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK) status = mp_inputs_edit(c, setup->options->settings.edit, &in, err);
    if (status == MP_OK)
        status = mp_run_surrounded(&setup->subject, c, &offer, &in, MP_POISON_A, &trace, &report, err);
    if (status == MP_OK) {
        mp_all_tensors(&in, &trace, t);
        status = add_expected(c, &offer.contract, stage, &trace, t, &e, names, err);
    }
    if (status == MP_OK)
        status = mp_contract_to_words(&offer.contract, offer.contract.preset, c, &contract, NULL, err);
    for (int id = 0; id < MP_TENSOR_COUNT && status == MP_OK; id++)
        if (in.t[id].data || !options->expected_only) e.t[id] = t[id];
    e.t[MP_NUMBERED_IDS] = (mp_tensor){0};
    e.contract = mp_text_get(&contract);
    if (status == MP_OK) status = mp_export_write(&e, format, options->path, err);
    for (int i = 0; i < MP_EXPORT_EXTRAS; i++) mp_tensor_free(&e.extra[i].t);
    mp_text_free(&contract);
    mp_trace_destroy(&trace);
    mp_inputs_destroy(&in);
    return status;
}

/* ---- the message ---- */

json_t *mp_json_leave(const mp_matrix_row *row, const mp_leave_options *options) {
    return json_pack("{s:{s:o, s:o, s:s, s:b}}", "leave", "row", mp_json_row(row), "path",
                     mp_json_path(options->path), "stage",
                     options->stage >= 0 ? mp_stage_name((mp_stage)options->stage) : "", "expected_only",
                     options->expected_only);
}

mp_status mp_json_to_leave(const json_t *json, mp_matrix *m, mp_leave_options *options, mp_error *err) {
    const char *name = json_string_value(json_object_get(json, "stage"));
    options->stage = -1;
    options->expected_only = json_is_true(json_object_get(json, "expected_only"));
    for (int s = 0; name && s < MP_STAGE_COUNT; s++)
        if (strcmp(mp_stage_name((mp_stage)s), name) == 0) options->stage = s;
    if (name && *name && options->stage < 0)
        return mp_fail(err, MP_EINPUT, "stage: unknown stage '%s'", name);
    return mp_json_to_row(json_object_get(json, "row"), m, err);
}

mp_status mp_leave_run(const mp_matrix *rows, const mp_suite_options *how, const mp_leave_options *options,
                       mp_error *err) {
    const size_t last = rows->count - 1; /* those before it run as they did */
    mp_request *requests = calloc(rows->count + 1, sizeof *requests);
    if (!requests) return mp_fail(err, MP_EMEMORY, "no memory for %zu requests", rows->count + 1);
    requests[0] = (mp_request){.message = mp_json_open(how, rows, 0, false), .answer = "hello"};
    for (size_t i = 0; i < last; i++)
        requests[i + 1] = (mp_request){.message = json_pack("{s:o}", "run", mp_json_row(&rows->rows[i])),
                                       .answer = "verdict"};
    requests[last + 1] = (mp_request){.message = mp_json_leave(&rows->rows[last], options), .answer = "left"};
    const mp_status status = mp_ask_worker(how, NULL, requests, (int)rows->count + 1, err);
    for (size_t i = 0; i < rows->count + 1; i++) json_decref(requests[i].body);
    free(requests);
    return status;
}
