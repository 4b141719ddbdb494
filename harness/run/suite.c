/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/suite.h"

#include "base/clock.h"
#include "harness/run/in_process.h"
#include "harness/run/interrupt.h"
#include "harness/run/link.h"
#include "harness/run/message.h"
#include "harness/run/replay.h"
#include "harness/run/settings.h"
#include "harness/progress.h"
#include "harness/verdict_json.h"
#include "moeparity/run_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_JOBS = 64,
    MOST_FAILED_STARTS = 3 /* in a row: then no further one is tried */
};
#define ROUND_SECONDS 0.2 /* Ctrl-C is noticed within */

typedef struct run {
    const mp_matrix *matrix;
    mp_suite_options o; /* with the subject that "auto" came to: for the repros, and for all workers */
    mp_verdict *verdicts;
    mp_run_info *info;
    mp_link links[MOST_JOBS];
    bool retired[MOST_JOBS]; /* no worker could be started there */
    struct ran {             /* the cases that the worker there has judged, in order */
        size_t *index, count;
    } ran[MOST_JOBS];
    mp_replay replay[MOST_JOBS]; /* of a case that failed there: the place serves it alone until it ends */
    int jobs, failed_starts;
    size_t next; /* the first case not handed out */
    bool opened; /* a worker has said hello: the input is good, and the kernels are compiled */
    bool ended;  /* nothing more is handed out */
    mp_status status;
    mp_error err;
} run;

static int jobs_of(const mp_matrix *matrix, const mp_suite_options *o) {
    const int most = matrix->count < MOST_JOBS ? (int)matrix->count : MOST_JOBS;
    const int jobs = o->settings.jobs < most ? o->settings.jobs : most;
    return jobs < 1 || o->record ? 1 : jobs;
}

static int count_in(const run *r, mp_link_state state) {
    int count = 0;
    for (int i = 0; i < r->jobs; i++) count += r->links[i].state == state;
    return count;
}

static const mp_matrix_row *row_of(const run *r, size_t index) {
    return index == MP_NO_CASE ? NULL : &r->matrix->rows[index];
}

static void report(run *r, size_t index) {
    mp_verdict *v = &r->verdicts[index];
    r->ended = r->ended || mp_ends_run(&r->o, v);
    if (r->o.progress) r->o.progress(r->o.ctx, index, v);
}

/* ---- a case that failed behind others ---- */

static void forget_rows(run *r, int slot) {
    free(r->ran[slot].index);
    r->ran[slot] = (struct ran){0};
}

/* Without memory for it the case is as good as alone: nothing is run again. */
static void remember_row(run *r, int slot, size_t index) {
    struct ran *ran = &r->ran[slot];
    size_t *more = realloc(ran->index, (ran->count + 1) * sizeof *more);
    if (more) ran->index = more;
    if (more) more[ran->count++] = index;
}

/* A verdict is there: it is told, or first found out what it owes to the cases before it in its process. */
static void conclude(run *r, int slot, size_t index) {
    const mp_outcome outcome = r->verdicts[index].outcome;
    const bool failed = outcome == MP_FAIL || outcome == MP_CRASH || outcome == MP_TIMEOUT;
    if (!failed || r->ran[slot].count == 0 || r->o.record || r->matrix->rows[index].file) {
        report(r, index);
        return;
    }
    mp_replay_begin(&r->replay[slot], index, r->ran[slot].index, r->ran[slot].count);
    r->ran[slot] = (struct ran){0};
    r->ended = r->ended || mp_ends_run(&r->o, &r->verdicts[index]);
    mp_link_kill(&r->links[slot]);
}

static void replayed(run *r, int slot, mp_outcome outcome) {
    mp_replay *replay = &r->replay[slot];
    const size_t index = replay->row;
    const mp_replay_step step =
        mp_replay_take(replay, outcome, r->matrix, &r->o.settings, &r->verdicts[index]);
    if (step != MP_REPLAY_GOES_ON) mp_link_kill(&r->links[slot]);
    if (step == MP_REPLAY_ENDS) report(r, index);
}

static void give_up_replay(run *r, int slot, const char *why) {
    const size_t index = r->replay[slot].row;
    mp_link_kill(&r->links[slot]);
    mp_replay_give_up(&r->replay[slot], why, &r->verdicts[index]);
    report(r, index);
}

static int replays(const run *r) {
    int count = 0;
    for (int i = 0; i < r->jobs; i++) count += r->replay[i].active;
    return count;
}

/* ---- the end of a case ---- */

/* No verdict came, or none that can be believed: the worker is gone, or goes. */
static void close_case(run *r, mp_link *link, mp_outcome outcome, const char *reason) {
    const size_t index = link->index, previous = link->previous;
    const int slot = (int)(link - r->links);
    mp_link_kill(link);
    if (r->replay[slot].active) {
        replayed(r, slot, outcome);
        return;
    }
    mp_verdict_without_worker(row_of(r, index), row_of(r, previous), &r->o.settings, outcome, reason,
                              &r->verdicts[index]);
    conclude(r, slot, index);
}

static void take_verdict(run *r, mp_link *link, const json_t *json) {
    const size_t index = link->index;
    const int slot = (int)(link - r->links);
    const bool again = r->replay[slot].active;
    mp_verdict *v = again ? malloc(sizeof *v) : &r->verdicts[index];
    mp_error err = {0};
    char name[MP_CASE_TEXT_MAX];
    if (!v) {
        give_up_replay(r, slot, "there was no memory for a verdict");
        return;
    }
    mp_case_text(&r->matrix->rows[index].c, name, sizeof name);
    mp_status status = mp_verdict_from_json(json, v, &err);
    if (status == MP_OK && strcmp(v->name, name) != 0)
        status = mp_fail(&err, MP_EINPUT, "the worker judged another case: %s", v->name);
    const mp_outcome outcome = status == MP_OK ? v->outcome : MP_CRASH;
    if (again) {
        mp_verdict_free(v);
        free(v);
    }
    if (status != MP_OK) {
        close_case(r, link, MP_CRASH, err.text);
        return;
    }
    link->state = MP_LINK_IDLE;
    link->previous = index;
    link->index = MP_NO_CASE;
    if (again) {
        replayed(r, slot, outcome);
        return;
    }
    if (outcome == MP_CRASH) mp_link_kill(link); /* a device error leaves the context unusable */
    conclude(r, slot, index);
    remember_row(r, slot, index);
}

/* ---- the start of a worker ---- */

/* The first start decides about the run. A later one that fails leaves the cases to the other workers; where
 * there is none, the next case could not be run. */
static void start_failed(run *r, int slot, const mp_error *why) {
    mp_link_kill(&r->links[slot]);
    if (r->replay[slot].active) {
        give_up_replay(r, slot, why->text);
        return;
    }
    if (!r->opened) {
        r->ended = true;
        r->status = why->status;
        r->err = *why;
        return;
    }
    r->failed_starts++;
    r->retired[slot] = count_in(r, MP_LINK_NONE) < r->jobs;
    if (r->retired[slot]) return;
    memset(r->retired, 0, sizeof r->retired);
    const size_t end = r->failed_starts < MOST_FAILED_STARTS ? r->next + 1 : r->matrix->count;
    while (r->next < end && r->next < r->matrix->count && !r->ended) {
        mp_verdict_without_worker(row_of(r, r->next), NULL, &r->o.settings, MP_CRASH, why->text,
                                  &r->verdicts[r->next]);
        report(r, r->next++);
    }
}

static void take_hello(run *r, int slot, const json_t *hello) {
    mp_error why = {0};
    mp_run_info *info = r->info;
    if (mp_json_to_hello(hello, info, &why) != MP_OK) {
        start_failed(r, slot, &why);
        return;
    }
    if (strcmp(r->o.settings.subject, "auto") == 0 && info->subject[0]) r->o.settings.subject = info->subject;
    r->opened = true;
    r->failed_starts = 0;
    r->links[slot].state = MP_LINK_IDLE;
}

static void take_failed(run *r, int slot, const json_t *failed) {
    mp_error why = {0};
    const mp_status status = mp_json_to_failed(failed, &why);
    if (r->links[slot].state == MP_LINK_STARTING) {
        start_failed(r, slot, &why);
    } else if (r->o.record) { /* it passed, and could not be recorded */
        r->ended = true;
        r->status = status;
        r->err = why;
        mp_link_kill(&r->links[slot]);
    } else if (r->links[slot].state == MP_LINK_BUSY) {
        close_case(r, &r->links[slot], MP_CRASH, why.text);
    }
}

/* ---- one round ---- */

/* A replay has cases of its own, whose kernels are compiled. */
static json_t *opening(const run *r, int slot) {
    const mp_replay *replay = &r->replay[slot];
    mp_matrix some = {.rows = malloc((replay->tried + 1) * sizeof *some.rows)};
    if (!replay->active || !some.rows) {
        free(some.rows);
        return mp_json_open(&r->o, r->matrix, replay->active ? r->matrix->count : r->next, !r->opened);
    }
    for (; some.count <= replay->tried; some.count++)
        some.rows[some.count] = r->matrix->rows[mp_replay_at(replay, some.count)];
    json_t *open = mp_json_open(&r->o, &some, 0, false);
    free(some.rows);
    return open;
}

static void start(run *r, int slot) {
    mp_error why = {0};
    forget_rows(r, slot);
    if (mp_link_start(&r->links[slot], r->o.program, opening(r, slot), r->o.settings.timeout, &why) != MP_OK)
        start_failed(r, slot, &why);
}

static void hand(run *r, mp_link *link) {
    const mp_replay *replay = &r->replay[link - r->links];
    const size_t index = replay->active ? mp_replay_next(replay) : r->next++;
    if (!replay->active && r->o.progress) r->o.progress(r->o.ctx, index, NULL);
    link->state = MP_LINK_BUSY;
    link->index = index;
    link->stage[0] = link->what[0] = '\0';
    link->since = link->told = mp_seconds_now();
    link->deadline = link->since + r->o.settings.timeout;
    mp_link_send(link, json_pack("{s:o}", "run", mp_json_row(&r->matrix->rows[index])));
}

static void take_message(run *r, int slot, const json_t *message) {
    mp_link *link = &r->links[slot];
    const json_t *body;
    if ((body = json_object_get(message, "progress"))) {
        mp_link_progress(link, body);
        mp_link_tell_phase(link, &r->o);
    } else if ((body = json_object_get(message, "failed"))) {
        take_failed(r, slot, body);
    } else if ((body = json_object_get(message, "hello")) && link->state == MP_LINK_STARTING) {
        take_hello(r, slot, body);
    } else if ((body = json_object_get(message, "verdict")) && link->state == MP_LINK_BUSY) {
        take_verdict(r, link, body);
    }
}

/* It died without a case: no case is to blame. One that never had one is as good as not started, or it would
 * be replaced for ever; the run of one that records ends. */
static void lost_idle(run *r, int slot, const char *why) {
    mp_link *link = &r->links[slot];
    mp_error err = {0};
    if (r->replay[slot].active) {
        give_up_replay(r, slot, why);
    } else if (r->o.record) {
        r->ended = true;
        r->status = mp_fail(&r->err, MP_EDEVICE, "%s between two cases: %s", why,
                            r->o.record->keep ? "those before are kept" : "what it recorded is lost");
    } else if (link->previous == MP_NO_CASE) {
        mp_fail(&err, MP_EDEVICE, "%s before its first case", why);
        start_failed(r, slot, &err);
    }
    mp_link_kill(link);
}

/* The worker ended before it was told to (why), or is past its deadline (why == NULL). */
static void lost(run *r, int slot, const char *why) {
    mp_link *link = &r->links[slot];
    char reason[512], phase[MP_PHASE_MAX], late[64];
    mp_error err = {0};
    if (link->state == MP_LINK_IDLE) {
        lost_idle(r, slot, why);
        return;
    }
    if (link->state == MP_LINK_STARTING) {
        mp_link_blame(link, r->o.settings.golden, why, &err);
        start_failed(r, slot, &err);
        return;
    }
    mp_phase_text(link->stage, link->what, phase);
    snprintf(late, sizeof late, "no verdict after %g s", r->o.settings.timeout);
    snprintf(reason, sizeof reason, "%s%s%s%s%s", why ? why : late, why ? " before its verdict" : "",
             phase[0] ? " (" : "", phase, phase[0] ? ")" : "");
    close_case(r, link, why ? MP_CRASH : MP_TIMEOUT, reason);
}

static void listen(run *r, int slot) {
    mp_link *link = &r->links[slot];
    bool gone = false;
    char why[200];
    while (link->state >= MP_LINK_STARTING && !gone) {
        json_t *message = mp_link_receive(link, &gone, why);
        if (message) take_message(r, slot, message);
        json_decref(message);
        if (gone) lost(r, slot, why);
        if (!message) return;
    }
}

/* Cases to the idle workers that still live, and workers for the cases that are left then. The first one
 * starts alone. */
static void hand_out(run *r) {
    for (int i = 0; i < r->jobs && !mp_interrupted(); i++) {
        if (r->replay[i].active && r->links[i].state == MP_LINK_NONE) start(r, i);
        if (r->replay[i].active && r->links[i].state == MP_LINK_IDLE) listen(r, i);
        if (r->replay[i].active && r->links[i].state == MP_LINK_IDLE) hand(r, &r->links[i]);
    }
    for (int i = 0; i < r->jobs; i++) {
        if (r->ended || r->next == r->matrix->count || mp_interrupted()) break;
        if (r->replay[i].active) continue;
        if (r->links[i].state == MP_LINK_IDLE) listen(r, i);
        if (r->links[i].state == MP_LINK_IDLE && !r->ended) hand(r, &r->links[i]);
    }
    for (int i = 0; i < (r->opened ? r->jobs : 1) && !r->ended; i++)
        if (r->links[i].state == MP_LINK_NONE && !r->retired[i] && !r->replay[i].active &&
            r->next + (size_t)count_in(r, MP_LINK_STARTING) < r->matrix->count)
            start(r, i);
}

/* Waits for the workers that start or have a case: those that have spoken are listened to, those past their
 * deadline are killed. */
static void wait_for_workers(run *r) {
    struct pollfd fds[2 * MOST_JOBS];
    double next = mp_seconds_now() + ROUND_SECONDS;
    for (int i = 0; i < r->jobs; i++) {
        const mp_link *link = &r->links[i];
        const bool waits = link->state == MP_LINK_STARTING || link->state == MP_LINK_BUSY;
        for (int k = 0; k < 2; k++) fds[2 * i + k] = mp_link_poll(link, k);
        if (!waits) fds[2 * i].fd = fds[2 * i + 1].fd = -1;
        if (waits && link->deadline < next) next = link->deadline;
    }
    const double left = next - mp_seconds_now();
    if (poll(fds, 2 * (nfds_t)r->jobs, left > 0 ? (int)(left * 1000) + 1 : 0) < 0 || mp_interrupted())
        return; /* a signal to the whole group ends the workers too: no crash of a case */
    for (int i = 0; i < r->jobs; i++) {
        mp_link *link = &r->links[i];
        if (fds[2 * i].revents || fds[2 * i + 1].revents) listen(r, i);
        if (link->state != MP_LINK_STARTING && link->state != MP_LINK_BUSY) continue;
        if (mp_seconds_now() > link->deadline)
            lost(r, i, NULL);
        else if (mp_seconds_now() - link->told > MP_TELL_SECONDS)
            mp_link_tell_phase(link, &r->o);
    }
}

/* Every case has passed: the worker writes the file, whatever signal comes now. */
static void commit(run *r) {
    mp_link *link = &r->links[0];
    link->deadline = mp_seconds_now() + r->o.settings.timeout;
    mp_link_send(link, json_pack("{s:{}}", "commit"));
    json_t *committed;
    r->status = mp_link_answer(link, &r->o, "committed", NULL, &committed, &r->err);
    json_decref(committed);
}

static mp_status run_in_workers(run *r, mp_error *err) {
    mp_signals old;
    mp_signals_catch(false, &old);
    while (!mp_interrupted()) {
        hand_out(r);
        const bool all = r->ended || r->next == r->matrix->count;
        if (count_in(r, MP_LINK_BUSY) == 0 && replays(r) == 0 && all) break;
        wait_for_workers(r);
    }
    r->info->interrupted = mp_interrupted(); /* one that comes later comes too late */
    for (int i = 0; i < r->jobs; i++) {
        if (r->replay[i].active) give_up_replay(r, i, "it was interrupted");
        forget_rows(r, i);
    }
    if (r->o.record && r->status == MP_OK && !r->ended && !r->info->interrupted) commit(r);
    mp_links_close(r->links, r->jobs, mp_interrupted());
    mp_signals_release(&old);
    if (r->status == MP_EUNSUPPORTED && !r->opened) {
        mp_skip_all(r->matrix, &r->o, r->err.text, r->verdicts);
        r->status = MP_OK;
    }
    if (r->status != MP_OK && err) *err = r->err;
    return r->status;
}

/* Before anything is run: what one of the rows has no place for is a mistake of the line. */
static mp_status check_rows(const mp_matrix *matrix, const mp_suite_options *options, mp_error *err) {
    const mp_settings *settings = &options->settings;
    mp_status status = MP_OK;
    if (settings->edit && options->record)
        return mp_fail(err, MP_EINPUT, "edit '%.100s' in a recording: a golden holds cases without edits",
                       settings->edit);
    for (size_t i = 0; status == MP_OK && i < matrix->count; i++)
        status = mp_settings_check_row(settings, &matrix->rows[i], err);
    return status;
}

mp_status mp_suite_run(const mp_matrix *matrix, const mp_suite_options *options, mp_verdict *verdicts,
                       mp_run_info *info, mp_error *err) {
    run r = {.matrix = matrix, .o = *options, .verdicts = verdicts, .info = info};
    const double start_time = mp_seconds_now();
    for (size_t i = 0; i < matrix->count; i++) mp_verdict_init(&verdicts[i]);
    mp_status status = mp_settings_check(&options->settings, err);
    if (status == MP_OK) status = check_rows(matrix, options, err);
    if (status != MP_OK) return status;
    if (!(r.o.settings.timeout > 0)) r.o.settings.timeout = MP_TIMEOUT_SECONDS;
    r.jobs = r.o.settings.jobs = jobs_of(matrix, options);
    status = r.o.in_process ? mp_run_in_process(matrix, &r.o, verdicts, info, err) : run_in_workers(&r, err);
    info->seconds = mp_seconds_now() - start_time;
    return status;
}
