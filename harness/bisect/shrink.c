/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/shrink_steps.h"

#include "base/clock.h"
#include "base/text.h"
#include "cases/case_tools.h"
#include "cases/edit.h"
#include "harness/bisect/attempt.h"
#include "harness/run/interrupt.h"
#include "harness/run/repro.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)MP_SHRINK_BEFORE_MAX <= (int)MP_REPRO_ROWS, "a line has room for them");

const char *mp_shrink_text(mp_shrink *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const char *text = mp_texts_vadd(&s->result->texts, format, args);
    va_end(args);
    return text;
}

static mp_status add_row(mp_matrix *m, const mp_case *c, const char *const *pairs, size_t pair_count,
                         const char *const *afters, size_t after_count, mp_error *err) {
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    mp_status status = mp_matrix_add(m, text, pairs, pair_count, err);
    for (size_t i = 0; i < after_count && status == MP_OK; i++)
        status = mp_matrix_add_after(m, text, afters[i], err);
    return status;
}

/* The rows of a small one: MP_EINPUT where they cannot be. */
static mp_status make_rows(const mp_shrink *s, const mp_small *small, mp_matrix *m, mp_error *err) {
    mp_status status = mp_case_validate(&small->c, err);
    for (size_t i = 0; i < small->befores && status == MP_OK; i++) {
        const mp_matrix_row *row = &s->given->rows[small->before[i]];
        status = add_row(m, &row->c, (const char *const *)row->pair_text, row->pair_count,
                         (const char *const *)row->after_text, row->after_count, err);
    }
    if (status == MP_OK)
        status = add_row(m, &small->c, small->pair, small->pairs, small->after, small->afters, err);
    if (status == MP_OK && m->count != small->befores + 1)
        status = mp_fail(err, MP_EINPUT, "the case runs before itself"); /* one row, in the first place */
    for (size_t i = 0; i < m->count && status == MP_OK && small->edit; i++)
        status = mp_edits_check_case(small->edit, &m->rows[i].c, err);
    return status;
}

/* The line that repeats the rows. */
static void line_of(const mp_shrink *s, const mp_matrix *rows, const char *edit, mp_text *line) {
    const mp_matrix_row *before[MP_SHRINK_BEFORE_MAX];
    mp_settings settings = s->how.settings;
    settings.edit = edit;
    for (size_t i = 0; i + 1 < rows->count; i++) before[i] = &rows->rows[i];
    mp_repro(&rows->rows[rows->count - 1], before, rows->count - 1, &settings, line);
}

/* Runs it; whether there is a verdict of its last row. */
static mp_status run(mp_shrink *s, const mp_matrix *rows, const char *edit, mp_verdict *v, bool *reached,
                     mp_error *err) {
    mp_suite_options how = s->how;
    size_t at = 0;
    how.settings.edit = edit;
    s->result->tries++;
    const mp_status status = mp_attempt(rows, &how, v, &at, &s->result->info, err);
    *reached = status == MP_OK && at == rows->count - 1;
    return status;
}

/* Takes over rows and verdict. */
static void keep(mp_shrink *s, const mp_small *small, mp_matrix *rows, mp_verdict *v, const char *line) {
    mp_shrunk *r = s->result;
    mp_matrix_free(&r->rows);
    mp_verdict_free(&r->v);
    r->small = *small;
    r->rows = *rows;
    r->v = *v;
    r->edit = small->edit;
    r->line = mp_shrink_text(s, "%s", line);
    if (s->options->found)
        s->options->found(s->options->ctx, r->tries, mp_seconds_now() - s->begun, small, r->line);
}

static bool is_spent(mp_shrink *s) {
    s->result->interrupted = s->result->interrupted || mp_interrupted();
    s->spent = s->spent || s->result->interrupted || s->result->tries >= s->options->tries ||
               mp_seconds_now() - s->begun > s->options->seconds;
    return s->spent;
}

bool mp_shrink_try(mp_shrink *s, const mp_small *next) {
    mp_matrix rows = {0};
    mp_text line = {0};
    mp_verdict v;
    mp_error err = {0};
    bool reached = false, fails = false;
    mp_verdict_init(&v);
    if (!s->spent && make_rows(s, next, &rows, &err) == MP_OK) {
        line_of(s, &rows, next->edit, &line);
        const bool known = json_object_get(s->seen, mp_text_get(&line)) != NULL;
        if (!known && !is_spent(s)) {
            json_object_set_new(s->seen, mp_text_get(&line), json_true());
            fails = run(s, &rows, next->edit, &v, &reached, &err) == MP_OK && reached &&
                    mp_signature_fits(&s->result->signature, &v);
        }
    }
    if (fails) {
        keep(s, next, &rows, &v, mp_text_get(&line));
    } else {
        mp_matrix_free(&rows);
        mp_verdict_free(&v);
    }
    mp_text_free(&line);
    return fails;
}

/* The rows as they were given, with texts that live as long as the result. */
static mp_status take_given(mp_shrink *s, mp_small *small, mp_error *err) {
    const mp_matrix *m = s->given;
    if (m->count == 0)
        return mp_fail(err, MP_EINPUT, "no case: expected one, or several of which the last fails");
    if (m->count - 1 > MP_SHRINK_BEFORE_MAX)
        return mp_fail(
            err, MP_EINPUT,
            "%zu rows before the case: expected at most %d; moeparity bisect set finds those that it needs",
            m->count - 1, MP_SHRINK_BEFORE_MAX);
    const mp_matrix_row *row = &m->rows[m->count - 1];
    *small = (mp_small){.c = row->c, .pairs = row->pair_count, .afters = row->after_count};
    for (size_t i = 0; i < row->pair_count; i++) small->pair[i] = mp_shrink_text(s, "%s", row->pair_text[i]);
    for (size_t i = 0; i < row->after_count; i++)
        small->after[i] = mp_shrink_text(s, "%s", row->after_text[i]);
    for (; small->befores + 1 < m->count; small->befores++) small->before[small->befores] = small->befores;
    if (s->how.settings.edit) small->edit = mp_shrink_text(s, "%s", s->how.settings.edit);
    return MP_OK;
}

/* Runs what was given: the signature is that of its failure. */
static mp_status begin(mp_shrink *s, mp_error *err) {
    mp_small small;
    mp_matrix rows = {0};
    mp_text line = {0};
    bool reached = false;
    mp_status status = take_given(s, &small, err);
    if (status == MP_OK) status = make_rows(s, &small, &rows, err);
    if (status == MP_OK) status = run(s, &rows, small.edit, &s->result->given, &reached, err);
    if (status == MP_OK && !reached)
        status = mp_fail(err, MP_EDEVICE, "the row before it, %s, did not survive: %s", s->result->given.name,
                         s->result->given.reason);
    /* `auto` has come to a subject, which is the same for all that follow. */
    if (status == MP_OK && strcmp(s->how.settings.subject, "auto") == 0 && s->result->info.subject[0])
        s->how.settings.subject = s->result->info.subject;
    if (status == MP_OK) s->result->fails = mp_signature_of(&s->result->given, &s->result->signature);
    if (status == MP_OK) {
        line_of(s, &rows, small.edit, &line);
        json_object_set_new(s->seen, mp_text_get(&line), json_true());
        s->result->small = small;
        s->result->rows = rows;
        s->result->edit = small.edit;
        s->result->line = mp_shrink_text(s, "%s", mp_text_get(&line));
    } else {
        mp_matrix_free(&rows);
    }
    mp_text_free(&line);
    return status;
}

static void search(mp_shrink *s) {
    bool smaller = true, values = s->options->values;
    while (smaller && !s->spent) {
        smaller = mp_shrink_company(s);
        smaller = mp_shrink_stage(s) || smaller;
        smaller = mp_shrink_options_of(s) || smaller;
        smaller = mp_shrink_sizes(s) || smaller;
        smaller = mp_shrink_data(s) || smaller;
        if (!smaller && values) {
            smaller = mp_shrink_values(s);
            values = false; /* once: sizes may go further on plain numbers, numbers not on smaller sizes */
        }
    }
    s->result->complete = !s->spent;
}

mp_status mp_shrink_case(const mp_matrix *rows, const mp_suite_options *how, const mp_shrink_options *options,
                         mp_shrunk *result, mp_error *err) {
    mp_shrink s = {.given = rows,
                   .how = *how,
                   .options = options,
                   .result = result,
                   .seen = json_object(),
                   .begun = mp_seconds_now()};
    mp_signals old;
    *result = (mp_shrunk){0};
    mp_verdict_init(&result->given);
    mp_verdict_init(&result->v);
    mp_run_info_init(&result->info);
    mp_signals_catch(true, &old);
    mp_status status = s.seen ? begin(&s, err) : mp_fail(err, MP_EMEMORY, "no memory for the cases tried");
    if (status == MP_OK && result->fails) search(&s);
    mp_signals_release(&old);
    result->seconds = mp_seconds_now() - s.begun;
    json_decref(s.seen);
    return status;
}

const mp_verdict *mp_shrunk_verdict(const mp_shrunk *result) {
    return result->v.name[0] ? &result->v : &result->given;
}

void mp_shrunk_free(mp_shrunk *result) {
    mp_matrix_free(&result->rows);
    mp_verdict_free(&result->given);
    mp_verdict_free(&result->v);
    mp_run_info_free(&result->info);
    mp_texts_free(&result->texts);
    *result = (mp_shrunk){0};
}
