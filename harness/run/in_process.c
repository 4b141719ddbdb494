/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/in_process.h"

#include "base/clock.h"
#include "harness/run/interrupt.h"
#include "harness/progress.h"
#include "harness/run/repro.h"
#include "harness/run/setup.h"
#include "harness/run/strict.h"
#include "harness/verdict_make.h"
#include "ref/blas.h"

#include <stdlib.h>

void mp_verdict_without_worker(const mp_matrix_row *row, const mp_matrix_row *before,
                               const mp_settings *settings, mp_outcome outcome, const char *reason,
                               mp_verdict *v) {
    mp_verdict_free(v);
    mp_verdict_begin(row, &before, before ? 1 : 0, settings, outcome, v);
    mp_verdict_set(v, &v->reason, "%s", reason);
    if (settings->strict) mp_strict_apply(v, 0);
}

void mp_skip_all(const mp_matrix *matrix, const mp_suite_options *o, const char *why, mp_verdict *verdicts) {
    for (size_t i = 0; i < matrix->count; i++) {
        mp_verdict_without_worker(&matrix->rows[i], NULL, &o->settings, MP_SKIP, why, &verdicts[i]);
        if (o->progress) o->progress(o->ctx, i, &verdicts[i]);
    }
}

bool mp_ends_run(const mp_suite_options *o, const mp_verdict *v) {
    if (v->outcome == MP_PASS) return false;
    return o->record || (o->fail_fast && v->outcome != MP_SKIP);
}

/* Where the case that runs is passed on to. */
typedef struct watch {
    const mp_suite_options *o;
    size_t index;
    double since;
} watch;

static void on_progress(void *ctx, const char *stage, const char *what) {
    const watch *w = ctx;
    char text[MP_PHASE_MAX];
    mp_phase_text(stage, what, text);
    if (w->o->phase) w->o->phase(w->o->ctx, w->index, text, mp_seconds_now() - w->since);
}

static mp_status run_cases(const mp_matrix *matrix, mp_setup *s, watch *w, mp_verdict *verdicts,
                           bool *interrupted, mp_error *err) {
    const mp_suite_options *o = s->options;
    mp_status status = MP_OK;
    bool ended = false;
    const mp_matrix_row **rows = malloc((matrix->count + 1) * sizeof *rows);
    if (!rows) return mp_fail(err, MP_EMEMORY, "no memory for a list of %zu rows", matrix->count);
    for (size_t i = 0; i < matrix->count; i++) rows[i] = &matrix->rows[i];
    s->run.before = rows;
    for (size_t i = 0; i < matrix->count && status == MP_OK && !ended && !mp_interrupted(); i++) {
        *w = (watch){o, i, mp_seconds_now()};
        if (o->progress) o->progress(o->ctx, i, NULL);
        s->run.before_count = i;
        status = mp_setup_judge(s, &matrix->rows[i], &verdicts[i], err);
        if (status == MP_OK && o->progress) o->progress(o->ctx, i, &verdicts[i]);
        ended = mp_ends_run(o, &verdicts[i]);
    }
    *interrupted = mp_interrupted(); /* one that comes later comes too late */
    if (status == MP_OK && o->record && !ended && !*interrupted) status = mp_setup_commit(s, err);
    free(rows);
    return status;
}

mp_status mp_run_in_process(const mp_matrix *matrix, const mp_suite_options *o, mp_verdict *verdicts,
                            mp_run_info *info, mp_error *err) {
    mp_setup setup;
    mp_signals old;
    mp_error why = {0};
    watch w = {o, MP_NO_CASE, mp_seconds_now()};
    info->interrupted = false;
    mp_signals_catch(true, &old);
    mp_progress_listen(on_progress, &w);
    mp_status status = mp_setup_open(o, matrix, true, &setup, &why);
    if (status == MP_OK) {
        mp_run_info_set(info, &info->subject, "%s", setup.subject.name);
        mp_run_info_set(info, &info->device, "%s", setup.subject.device);
        mp_run_info_set(info, &info->versions, "%s", setup.subject.versions);
        mp_run_info_set(info, &info->blas, "%s", o->settings.plain ? "plain loops" : mp_blas_name());
        mp_run_info_set(info, &info->files, "%s", mp_text_get(&setup.files));
        status = run_cases(matrix, &setup, &w, verdicts, &info->interrupted, &why);
    } else if (status == MP_EUNSUPPORTED) {
        mp_skip_all(matrix, o, why.text, verdicts);
        status = MP_OK;
    }
    if (status != MP_OK && err) *err = why;
    mp_progress_listen(NULL, NULL);
    mp_setup_close(&setup);
    mp_signals_release(&old);
    return status;
}
