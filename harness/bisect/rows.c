/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/rows.h"

#include "base/clock.h"
#include "base/text.h"
#include "harness/bisect/attempt.h"
#include "harness/bisect/subset.h"
#include "harness/run/interrupt.h"
#include "harness/run/repro.h"

#include <stdlib.h>
#include <string.h>

typedef struct search {
    const mp_matrix *matrix;
    mp_suite_options how;
    const mp_rows_options *options;
    mp_rows_found *found;
    mp_matrix_row *rows; /* room for those of one process: copies, which own nothing */
    double begun;
    bool spent;
} search;

static bool is_spent(search *s) {
    s->found->interrupted = s->found->interrupted || mp_interrupted();
    s->spent = s->spent || s->found->interrupted || s->found->tries >= s->options->tries ||
               mp_seconds_now() - s->begun > s->options->seconds;
    return s->spent;
}

/* One process: these rows of the matrix, and the target behind them. */
static mp_status run(search *s, const size_t *before, size_t count, bool to_failure, mp_verdict *v,
                     size_t *at, mp_error *err) {
    const mp_matrix rows = {.rows = s->rows, .count = count + 1};
    for (size_t i = 0; i < count; i++) s->rows[i] = s->matrix->rows[before[i]];
    s->rows[count] = s->matrix->rows[s->found->target];
    s->found->tries++;
    if (s->options->trying)
        s->options->trying(s->options->ctx, s->found->tries, mp_seconds_now() - s->begun, rows.count);
    const mp_status status =
        (to_failure ? mp_attempt_until_failure : mp_attempt)(&rows, &s->how, v, at, &s->found->info, err);
    if (status == MP_OK) s->found->rows_run += (int64_t)*at + 1;
    return status;
}

/* Whether the target fails behind these as it did behind all. */
static bool fails_behind(void *ctx, const size_t *before, size_t count) {
    search *s = ctx;
    mp_verdict v;
    mp_error err = {0};
    size_t at = 0;
    if (is_spent(s)) return false;
    const bool fails = run(s, before, count, false, &v, &at, &err) == MP_OK && at == count &&
                       mp_signature_fits(&s->found->signature, &v);
    if (fails) {
        mp_verdict_free(&s->found->v);
        s->found->v = v;
        if (s->options->found)
            s->options->found(s->options->ctx, s->found->tries, mp_seconds_now() - s->begun, count);
    } else {
        mp_verdict_free(&v);
    }
    return fails;
}

/* Runs all rows up to the target in one process, or up to the first that fails: that is the target then. */
static mp_status find_target(search *s, mp_error *err) {
    mp_rows_found *f = s->found;
    const bool named = s->options->target != MP_NO_CASE;
    size_t at = 0;
    if (s->matrix->count == 0 || (named && s->options->target >= s->matrix->count))
        return mp_fail(err, MP_EINPUT, "row %zu of %zu: expected one of them", s->options->target,
                       s->matrix->count);
    f->target = named ? s->options->target : s->matrix->count - 1;
    f->count = f->target;
    if (!(f->before = calloc(f->count + 1, sizeof *f->before)) ||
        !(s->rows = calloc(s->matrix->count + 1, sizeof *s->rows)))
        return mp_fail(err, MP_EMEMORY, "no memory for %zu rows", s->matrix->count);
    for (size_t i = 0; i < f->count; i++) f->before[i] = i;
    mp_status status = run(s, f->before, f->count, !named, &f->v, &at, err);
    if (status == MP_OK && named && at < f->target)
        status =
            mp_fail(err, MP_EDEVICE, "row %zu, %s, did not survive, before the one that is looked for: %s",
                    at, f->v.name, f->v.reason);
    if (status != MP_OK) return status;
    f->target = f->count = at;
    f->fails = mp_signature_of(&f->v, &f->signature);
    return MP_OK;
}

static void least_before(search *s) {
    mp_rows_found *f = s->found;
    f->alone = f->count == 0 || fails_behind(s, NULL, 0);
    if (f->alone)
        f->count = 0;
    else if (f->count > 1)
        f->count = mp_subset_least(f->before, f->count, fails_behind, s);
    f->complete = !s->spent;
}

static void set_line(search *s) {
    mp_rows_found *f = s->found;
    const mp_matrix_row *before[MP_REPRO_ROWS];
    mp_text line = {0};
    f->line = "";
    if (f->count > MP_REPRO_ROWS) return;
    for (size_t i = 0; i < f->count; i++) before[i] = &s->matrix->rows[f->before[i]];
    mp_repro(&s->matrix->rows[f->target], before, f->count, &s->how.settings, &line);
    f->line = mp_texts_add(&f->texts, "%s", mp_text_get(&line));
    mp_text_free(&line);
}

mp_status mp_bisect_rows(const mp_matrix *matrix, const mp_suite_options *how, const mp_rows_options *options,
                         mp_rows_found *found, mp_error *err) {
    search s = {.matrix = matrix, .how = *how, .options = options, .found = found, .begun = mp_seconds_now()};
    mp_signals old;
    *found = (mp_rows_found){.line = ""};
    mp_verdict_init(&found->v);
    mp_run_info_init(&found->info);
    mp_signals_catch(true, &old);
    const mp_status status = find_target(&s, err);
    if (status == MP_OK && strcmp(s.how.settings.subject, "auto") == 0 && found->info.subject[0])
        s.how.settings.subject = found->info.subject;
    if (status == MP_OK && found->fails) least_before(&s);
    if (status == MP_OK && found->fails) set_line(&s);
    mp_signals_release(&old);
    free(s.rows);
    found->seconds = mp_seconds_now() - s.begun;
    return status;
}

void mp_rows_found_free(mp_rows_found *found) {
    free(found->before);
    mp_verdict_free(&found->v);
    mp_run_info_free(&found->info);
    mp_texts_free(&found->texts);
    *found = (mp_rows_found){0};
}
