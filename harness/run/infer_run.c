/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/infer_run.h"

#include "base/clock.h"
#include "harness/progress.h"
#include "harness/run/ask.h"
#include "harness/run/message.h"
#include "harness/run/setup.h"
#include "harness/verdict_make.h"

json_t *mp_json_infer(const mp_infer_options *options) {
    json_t *stages = json_array();
    for (int s = 0; s < MP_STAGE_COUNT; s++)
        if (options->stages >> s & 1) json_array_append_new(stages, json_string(mp_stage_name((mp_stage)s)));
    return json_pack("{s:{s:o, s:i}}", "infer", "stages", stages, "repeat", options->repeat);
}

mp_status mp_json_to_infer(const json_t *json, mp_infer_options *options, mp_error *err) {
    const json_t *stages = json_object_get(json, "stages"), *repeat = json_object_get(json, "repeat"), *stage;
    size_t i;
    *options = (mp_infer_options){0};
    if (repeat && !(json_is_integer(repeat) && json_integer_value(repeat) >= 0 &&
                    json_integer_value(repeat) <= INT_MAX))
        return mp_fail(err, MP_EINPUT, "repeat: expected a whole number from 0");
    if (stages && !json_is_array(stages)) return mp_fail(err, MP_EINPUT, "stages: expected a list of names");
    options->repeat = (int)json_integer_value(repeat);
    json_array_foreach(stages, i, stage) {
        const char *name = json_string_value(stage);
        int s = 0;
        while (s < MP_STAGE_COUNT && !(name && strcmp(mp_stage_name((mp_stage)s), name) == 0)) s++;
        if (s == MP_STAGE_COUNT)
            return mp_fail(err, MP_EINPUT, "stages: unknown stage '%s'", name ? name : "(no text)");
        options->stages |= 1u << s;
    }
    return MP_OK;
}

/* ---- in process ---- */

typedef struct watch {
    const mp_suite_options *options;
    double since;
} watch;

static void on_progress(void *ctx, const char *stage, const char *what) {
    const watch *w = ctx;
    char text[MP_PHASE_MAX];
    mp_phase_text(stage, what, text);
    if (w->options->phase) w->options->phase(w->options->ctx, MP_NO_CASE, text, mp_seconds_now() - w->since);
}

static mp_status run_here(const mp_matrix *cases, const mp_suite_options *options,
                          const mp_infer_options *infer, mp_run_info *info, json_t **report, mp_error *err) {
    mp_setup setup;
    watch w = {options, mp_seconds_now()};
    mp_progress_listen(on_progress, &w);
    mp_status status = mp_setup_open(options, cases, false, &setup, err);
    if (status == MP_OK) {
        mp_run_info_set(info, &info->subject, "%s", setup.subject.name);
        mp_run_info_set(info, &info->device, "%s", setup.subject.device);
        mp_run_info_set(info, &info->versions, "%s", setup.subject.versions);
        status = mp_infer(&setup.subject, cases, infer, report, err);
    }
    mp_progress_listen(NULL, NULL);
    mp_setup_close(&setup);
    return status;
}

/* ---- in a worker ---- */

static mp_status run_in_worker(const mp_matrix *cases, const mp_suite_options *options,
                               const mp_infer_options *infer, mp_run_info *info, json_t **report,
                               mp_error *err) {
    mp_request requests[] = {{.message = mp_json_open(options, cases, 0, false), .answer = "hello"},
                             {.message = mp_json_infer(infer), .answer = "inferred"}};
    mp_status status = mp_ask_worker(options, NULL, requests, 2, err);
    if (status == MP_OK) status = mp_json_to_hello(requests[0].body, info, err);
    json_decref(requests[0].body);
    *report = requests[1].body;
    return status;
}

mp_status mp_infer_run(const mp_matrix *cases, const mp_suite_options *options, const mp_infer_options *infer,
                       mp_run_info *info, json_t **report, mp_error *err) {
    *report = NULL;
    return options->in_process ? run_here(cases, options, infer, info, report, err)
                               : run_in_worker(cases, options, infer, info, report, err);
}
