/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/attempt.h"

#include "base/clock.h"
#include "harness/run/in_process.h"
#include "harness/run/link.h"
#include "harness/run/message.h"
#include "harness/run/settings.h"
#include "harness/verdict_json.h"

#include <signal.h>
#include <string.h>

static mp_status open_subject(mp_link *link, const mp_matrix *rows, const mp_suite_options *how,
                              mp_run_info *info, mp_error *err) {
    json_t *hello = NULL;
    mp_run_info unread;
    mp_run_info_init(&unread);
    mp_status status = mp_link_start(link, how->program, NULL, mp_json_open(how, rows, 0, false),
                                     how->settings.timeout, err);
    if (status == MP_OK) status = mp_link_answer(link, how, "hello", how->settings.golden, &hello, err);
    if (status == MP_OK) status = mp_json_to_hello(hello, info ? info : &unread, err);
    json_decref(hello);
    mp_run_info_free(&unread);
    return status;
}

/* Hands over row i, and waits for its verdict. */
static void try_row(mp_link *link, const mp_matrix *rows, size_t i, const mp_suite_options *how,
                    mp_verdict *v) {
    const mp_settings *settings = &how->settings;
    json_t *verdict = NULL;
    mp_error why = {0};
    char name[MP_CASE_TEXT_MAX];
    link->state = MP_LINK_BUSY;
    link->index = i;
    link->stage[0] = link->what[0] = '\0';
    link->since = link->told = mp_seconds_now();
    link->deadline = link->since + settings->timeout;
    mp_link_send(link, json_pack("{s:o}", "run", mp_json_row(&rows->rows[i])));
    mp_status status = mp_link_answer(link, how, "verdict", NULL, &verdict, &why);
    const bool late = status != MP_OK && mp_seconds_now() >= link->deadline;
    if (status == MP_OK) status = mp_verdict_from_json(verdict, v, &why);
    mp_case_text(&rows->rows[i].c, name, sizeof name);
    if (status == MP_OK && strcmp(v->name, name) != 0)
        status = mp_fail(&why, MP_EINPUT, "the worker judged another case: %s", v->name);
    json_decref(verdict);
    if (status == MP_OK) return;
    if (late) mp_fail(&why, MP_EINPUT, "no verdict after %g s", settings->timeout);
    /* What is said of the place in our own source is no part of how it ended. */
    char *place = strstr(why.text, " (run/link.c:");
    if (place) *place = '\0';
    mp_verdict_without_worker(&rows->rows[i], i > 0 ? &rows->rows[i - 1] : NULL, settings,
                              late ? MP_TIMEOUT : MP_CRASH, why.text, v);
}

static mp_status run_rows(const mp_matrix *rows, const mp_suite_options *how, bool to_failure, mp_verdict *v,
                          size_t *at, mp_run_info *info, mp_error *err) {
    mp_link link = {0};
    mp_status status = open_subject(&link, rows, how, info, err);
    const size_t last = rows->count - 1;
    *at = last;
    if (status == MP_EUNSUPPORTED) {
        mp_verdict_without_worker(&rows->rows[last], NULL, &how->settings, MP_SKIP, err->text, v);
        status = MP_OK;
    } else if (status == MP_OK) {
        for (*at = 0;; ++*at) {
            mp_verdict_free(v);
            try_row(&link, rows, *at, how, v);
            const bool ends =
                v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT || (to_failure && v->outcome == MP_FAIL);
            if (*at == last || ends) break;
        }
    }
    if (link.state != MP_LINK_NONE) link.state = MP_LINK_IDLE;
    mp_links_close(&link, 1, status != MP_OK || v->outcome == MP_CRASH || v->outcome == MP_TIMEOUT);
    return status;
}

static mp_status attempt(const mp_matrix *rows, const mp_suite_options *how, bool to_failure, mp_verdict *v,
                         size_t *at, mp_run_info *info, mp_error *err) {
    mp_suite_options o = *how;
    size_t reached;
    struct sigaction old;
    mp_verdict_init(v);
    if (rows->count == 0) return mp_fail(err, MP_EINPUT, "no row to try: expected one or more");
    mp_status status = mp_settings_check(&o.settings, err);
    for (size_t i = 0; i < rows->count && status == MP_OK; i++)
        status = mp_settings_check_row(&o.settings, &rows->rows[i], err);
    if (status != MP_OK) return status;
    if (!(o.settings.timeout > 0)) o.settings.timeout = MP_TIMEOUT_SECONDS;
    o.settings.jobs = 1;
    o.record = NULL;
    /* A worker that is gone is found when it is read from. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &old);
    status = run_rows(rows, &o, to_failure, v, at ? at : &reached, info, err);
    sigaction(SIGPIPE, &old, NULL);
    return status;
}

mp_status mp_attempt(const mp_matrix *rows, const mp_suite_options *how, mp_verdict *v, size_t *at,
                     mp_run_info *info, mp_error *err) {
    return attempt(rows, how, false, v, at, info, err);
}

mp_status mp_attempt_until_failure(const mp_matrix *rows, const mp_suite_options *how, mp_verdict *v,
                                   size_t *at, mp_run_info *info, mp_error *err) {
    return attempt(rows, how, true, v, at, info, err);
}
