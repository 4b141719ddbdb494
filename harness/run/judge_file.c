/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/judge_file.h"

#include "base/host_memory.h"
#include "base/text.h"
#include "cases/case_tools.h"
#include "cases/graph_tables.h"
#include "files/trace_file.h"
#include "harness/judge/judge_stage.h"
#include "harness/progress.h"
#include "harness/run/ask.h"
#include "harness/run/memory.h"
#include "harness/verdict_make.h"
#include "harness/wire.h"
#include "ref/contract_words.h"

#include <string.h>

/* ---- what a file covers ---- */

typedef struct coverage {
    mp_text judged, open;
    int last; /* the last stage that is told */
} coverage;

static void add_stages(mp_text *text, mp_stage first, mp_stage last) {
    mp_text_add(text, "%s%s", text->length ? ", " : "", mp_stage_name(first));
    if (first != last) mp_text_add(text, "..%s", mp_stage_name(last));
}

static mp_status tell_span(void *ctx, const mp_judgement *j, mp_stage first, mp_stage last, mp_error *err) {
    coverage *told = ctx;
    const mp_tensor_set lacks = mp_judgement_lacks(j, mp_span_stages(j, last));
    const char *separator = " (without ";
    (void)err;
    told->last = (int)last;
    add_stages(lacks ? &told->open : &told->judged, first, last);
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        if (!(lacks & MP_IN_SET(id))) continue;
        mp_text_add(&told->open, "%s%s", separator, mp_tensor_name((mp_tensor_id)id));
        separator = ", ";
    }
    if (lacks) mp_text_add(&told->open, ")");
    return MP_OK;
}

/* "judged: act; not judged: gate_up (without x, w1), down (without cache3)". MP_EINPUT where nothing can be.
 */
static mp_status tell_coverage(const mp_trace_file *f, mp_text *text, mp_error *err) {
    const mp_case *c = &f->c;
    const mp_judgement planned = mp_judgement_planned(c, f->holds);
    coverage told = {.last = -1};
    mp_status status = mp_for_each_span(&planned, tell_span, &told, err);
    for (int s = 0; status == MP_OK && s < MP_STAGE_COUNT; s++) {
        const bool behind = s > told.last && s != MP_ALIGN && mp_case_has_stage(c, (mp_stage)s);
        if (!behind) continue;
        add_stages(&told.open, (mp_stage)s, (mp_stage)s);
        mp_text_add(&told.open, " (without %s)", mp_tensor_name(mp_stage_output(c, (mp_stage)s)));
    }
    if (status == MP_OK && told.judged.length == 0)
        status = mp_fail(err, MP_EINPUT, "%s: nothing can be judged: %s", f->container.path,
                         mp_text_get(&told.open));
    if (status == MP_OK) {
        mp_text_add(text, "judged: %s", mp_text_get(&told.judged));
        if (told.open.length) mp_text_add(text, "; not judged: %s", mp_text_get(&told.open));
        if (f->passed_over[0]) mp_text_add(text, "; passed over in the file: %s", f->passed_over);
        if (!(f->holds & MP_IN_SET(MP_TOPK_IDS))) mp_text_add(text, "; without topk_ids every slot counts");
    }
    mp_text_free(&told.judged);
    mp_text_free(&told.open);
    return status;
}

/* ---- reading ---- */

/* All but the numbers: the case, the contract, what is covered. Close it after MP_OK. */
static mp_status open_file(const char *path, const char *case_text, const char *contract_words,
                           mp_trace_file *f, mp_contract *contract, mp_text *covers, mp_error *err) {
    mp_progress("", "file");
    mp_status status = mp_trace_file_open(path, case_text, f, err);
    if (status != MP_OK) return status;
    status =
        mp_contract_of_words(contract_words ? contract_words : f->container.contract, &f->c, contract, err);
    if (status != MP_OK && !contract_words) mp_error_prefix(err, "%s", path);
    if (status == MP_OK && mp_contract_fuses_act(contract, &f->c) && f->holds & MP_IN_SET(MP_CACHE1))
        status = mp_fail(err, MP_EINPUT,
                         "%s holds cache1, and act.input=float32 says that what act reads is not stored: "
                         "leave one of them out",
                         path);
    if (status == MP_OK) status = tell_coverage(f, covers, err);
    if (status != MP_OK) mp_trace_file_close(f);
    return status;
}

static size_t needed_bytes(const mp_trace_file *f) {
    return mp_file_host_bytes(&f->c, f->holds, f->block_size_m);
}

mp_status mp_file_check(const char *path, const char *case_text, const char *contract,
                        char text[MP_CASE_TEXT_MAX], mp_error *err) {
    mp_trace_file f;
    mp_contract promised;
    mp_inputs in = {0};
    mp_trace trace = {0};
    mp_text covers = {0};
    mp_status status = open_file(path, case_text, contract, &f, &promised, &covers, err);
    if (status == MP_OK) {
        if (mp_memory_check(needed_bytes(&f), NULL) == MP_OK)
            status = mp_trace_file_load(&f, &in, &trace, err);
        mp_case_text(&f.c, text, MP_CASE_TEXT_MAX);
        mp_trace_file_close(&f);
    }
    mp_inputs_destroy(&in);
    mp_trace_destroy(&trace);
    mp_text_free(&covers);
    return status;
}

mp_status mp_file_load(mp_session *s, mp_inputs *in, mp_error *err) {
    const mp_matrix_row *row = s->row;
    const mp_settings *settings = &s->options->settings;
    char text[MP_CASE_TEXT_MAX], contract[MP_CONTRACT_TEXT_MAX];
    mp_trace_file f;
    mp_text covers = {0};
    mp_verdict *v = s->v;
    mp_case_text(&row->c, text, sizeof text);
    mp_verdict_set(v, &v->subject, "%s", row->file);
    mp_status status = open_file(row->file, text, settings->contract, &f, &s->offer.contract, &covers, err);
    if (status == MP_OK) {
        mp_contract_text(&s->offer.contract, contract, sizeof contract);
        mp_verdict_set(v, &v->contract, "%s", contract);
        mp_verdict_set(v, &v->covers, "%s", mp_text_get(&covers));
        v->peak_bytes = (int64_t)needed_bytes(&f);
        if (mp_case_compare(&f.c, &row->c) != 0)
            status = mp_fail(err, MP_EIO, "%s: changed while it was judged", row->file);
        if (status == MP_OK) {
            status = mp_memory_check(needed_bytes(&f), err);
            v->lacked_memory = status != MP_OK;
        }
        if (status == MP_OK) status = mp_trace_file_load(&f, in, &s->first, err);
        mp_trace_file_close(&f);
    }
    mp_text_free(&covers);
    return status;
}

/* ---- asked of a worker ---- */

static json_t *ask_for(const char *path, const char *case_text, const char *contract) {
    json_t *body = json_pack("{s:o}", "path", mp_json_path(path));
    if (case_text) json_object_set_new(body, "case", mp_json_text(case_text));
    if (contract) json_object_set_new(body, "contract", mp_json_text(contract));
    return json_pack("{s:o}", "file", body);
}

mp_status mp_suite_file_case(const char *path, const char *case_text, const char *contract, bool in_process,
                             double timeout_seconds, char text[MP_CASE_TEXT_MAX], mp_error *err) {
    if (in_process) return mp_file_check(path, case_text, contract, text, err);
    const mp_suite_options how = {.settings.timeout = timeout_seconds};
    mp_request request = {.message = ask_for(path, case_text, contract), .answer = "case"};
    mp_status status = mp_ask_worker(&how, path, &request, 1, err);
    const char *found = json_string_value(request.body);
    if (status == MP_OK && (!found || strlen(found) >= MP_CASE_TEXT_MAX))
        status = mp_fail(err, MP_EDEVICE, "%s: the worker named no case", path);
    if (status == MP_OK) strcpy(text, found);
    json_decref(request.body);
    return status;
}
