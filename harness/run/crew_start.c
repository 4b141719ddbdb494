/* SPDX-License-Identifier: Apache-2.0 */
/* Workers: started, listened to, and lost. */
#include "harness/run/crew.h"

#include "harness/progress.h"
#include "harness/run/message.h"
#include "harness/verdict_make.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FAILED_STARTS = 3 /* in a row: then no further one is tried */ };

/* ---- the start ---- */

/* The first start decides about the run. A later one that fails leaves the rows to the other workers; where
 * there is none, the next row could not be run. */
static void start_failed(mp_crew *crew, mp_slot *slot, const mp_error *why) {
    mp_link_kill(slot->link);
    if (slot->replay.active) {
        mp_slot_give_up_replay(crew, slot, why->text);
        return;
    }
    if (!crew->opened) {
        crew->ended = true;
        crew->status = why->status;
        crew->err = *why;
        return;
    }
    crew->failed_starts++;
    slot->retired = mp_crew_count(crew, MP_LINK_NONE) < crew->size;
    if (slot->retired) return;
    for (int i = 0; i < crew->size; i++) crew->slots[i].retired = false;
    const size_t all = crew->deal.left, given_up = crew->failed_starts < MOST_FAILED_STARTS ? 1 : all;
    for (size_t i = 0; i < given_up && i < all && !crew->ended; i++)
        mp_crew_give_up_row(crew, mp_deal_any(&crew->deal), why->text);
}

/* The rows that may come: a replay has its own. Their kernels are compiled. */
static json_t *opening(const mp_crew *crew, const mp_slot *slot) {
    const mp_replay *replay = &slot->replay;
    mp_suite_options o = crew->o;
    mp_matrix some = {.rows = malloc((crew->matrix->count + replay->tried + 1) * sizeof *some.rows)};
    o.settings = mp_slot_settings(crew, slot);
    for (size_t i = 0; some.rows && !replay->active && i < crew->matrix->count; i++)
        if (!crew->deal.rows[i].dealt) some.rows[some.count++] = crew->matrix->rows[i];
    for (; some.rows && replay->active && some.count <= replay->tried; some.count++)
        some.rows[some.count] = crew->matrix->rows[mp_replay_at(replay, some.count)];
    json_t *open = mp_json_open(&o, &some, 0, !crew->opened && !replay->active);
    free(some.rows);
    return open;
}

void mp_slot_start(mp_crew *crew, mp_slot *slot) {
    const mp_suite_options *o = &crew->o;
    mp_error why = {0};
    mp_slot_forget_rows(slot);
    if (mp_link_start(slot->link, o->program, slot->device, opening(crew, slot), o->settings.timeout, &why) !=
        MP_OK)
        start_failed(crew, slot, &why);
}

/* The first worker tells what the run is on; on other devices there may be another model. */
static mp_status take_names(mp_crew *crew, const json_t *hello, mp_error *err) {
    mp_run_info *info = crew->info, another;
    if (!crew->opened) return mp_json_to_hello(hello, info, err);
    mp_run_info_init(&another);
    const mp_status status = mp_json_to_hello(hello, &another, err);
    if (status == MP_OK) mp_run_info_join(info, &info->device, another.device);
    if (status == MP_OK) mp_run_info_join(info, &info->versions, another.versions);
    mp_run_info_free(&another);
    return status;
}

/* The first worker was told all rows, and says what their subject takes. */
static void take_host_bytes(mp_crew *crew, const json_t *hello) {
    const json_t *rows = json_object_get(hello, "host_bytes");
    for (size_t i = 0; !crew->opened && i < json_array_size(rows) && i < crew->matrix->count; i++) {
        const json_int_t bytes = json_integer_value(json_array_get(rows, i));
        if (bytes > 0) mp_deal_add_bytes(&crew->deal, i, (size_t)bytes);
    }
}

static void take_hello(mp_crew *crew, mp_slot *slot, const json_t *hello) {
    mp_error why = {0};
    take_host_bytes(crew, hello);
    if (take_names(crew, hello, &why) != MP_OK) {
        start_failed(crew, slot, &why);
        return;
    }
    if (strcmp(crew->o.settings.subject, "auto") == 0 && crew->info->subject[0])
        crew->o.settings.subject = crew->info->subject;
    crew->opened = true;
    crew->failed_starts = 0;
    slot->link->state = MP_LINK_IDLE;
}

/* ---- what it says ---- */

static void take_failed(mp_crew *crew, mp_slot *slot, const json_t *failed) {
    mp_error why = {0};
    const mp_status status = mp_json_to_failed(failed, &why);
    if (slot->link->state == MP_LINK_STARTING) {
        start_failed(crew, slot, &why);
    } else if (crew->o.record) { /* it passed, and could not be recorded */
        crew->ended = true;
        crew->status = status;
        crew->err = why;
        mp_link_kill(slot->link);
    } else if (slot->link->state == MP_LINK_BUSY) {
        mp_slot_close_row(crew, slot, MP_CRASH, why.text);
    }
}

static void take_message(mp_crew *crew, mp_slot *slot, const json_t *message) {
    mp_link *link = slot->link;
    const json_t *body;
    if ((body = json_object_get(message, "progress"))) {
        mp_link_progress(link, body);
        mp_link_tell_phase(link, &crew->o);
    } else if ((body = json_object_get(message, "failed"))) {
        take_failed(crew, slot, body);
    } else if ((body = json_object_get(message, "hello")) && link->state == MP_LINK_STARTING) {
        take_hello(crew, slot, body);
    } else if ((body = json_object_get(message, "verdict")) && link->state == MP_LINK_BUSY) {
        mp_slot_take_verdict(crew, slot, body, json_is_true(json_object_get(message, "lacked_memory")));
    }
}

void mp_slot_listen(mp_crew *crew, mp_slot *slot) {
    bool gone = false;
    char why[200];
    while (slot->link->state >= MP_LINK_STARTING && !gone) {
        json_t *message = mp_link_receive(slot->link, &gone, why);
        if (message) take_message(crew, slot, message);
        json_decref(message);
        if (gone) mp_slot_lost(crew, slot, why);
        if (!message) return;
    }
}

/* ---- the end ---- */

/* It died without a row: no row is to blame. One that never had one is as good as not started, or it would be
 * replaced for ever; the run of one that records ends. */
static void lost_idle(mp_crew *crew, mp_slot *slot, const char *why) {
    mp_error err = {0};
    if (slot->replay.active) {
        mp_slot_give_up_replay(crew, slot, why);
    } else if (crew->o.record) {
        crew->ended = true;
        crew->status = mp_fail(&crew->err, MP_EDEVICE, "%s between two cases: %s", why,
                               crew->o.record->keep ? "those before are kept" : "what it recorded is lost");
    } else if (slot->link->previous == MP_NO_CASE) {
        mp_fail(&err, MP_EDEVICE, "%s before its first case", why);
        start_failed(crew, slot, &err);
    }
    mp_link_kill(slot->link);
}

/* Who has no memory left kills the process that has most of it, whoever took it: what was beside others comes
 * again when they are done. */
static bool comes_again(mp_crew *crew, mp_slot *slot) {
    const size_t index = slot->link->index;
    if (slot->replay.active || crew->o.record || !mp_deal_again(&crew->deal, index)) return false;
    mp_link_kill(slot->link);
    return true;
}

void mp_slot_lost(mp_crew *crew, mp_slot *slot, const char *why) {
    const mp_link *link = slot->link;
    const bool killed = why && link->died_of == SIGKILL;
    char reason[512], phase[MP_PHASE_MAX], late[64];
    mp_error err = {0};
    if (link->state == MP_LINK_IDLE) {
        lost_idle(crew, slot, why);
        return;
    }
    if (link->state == MP_LINK_STARTING) {
        mp_link_blame(link, crew->o.settings.golden, why, &err);
        start_failed(crew, slot, &err);
        return;
    }
    if (killed && comes_again(crew, slot)) return;
    mp_phase_text(link->stage, link->what, phase);
    snprintf(late, sizeof late, "no verdict after %g s", crew->o.settings.timeout);
    snprintf(reason, sizeof reason, "%s%s%s%s%s%s", why ? why : late, why ? " before its verdict" : "",
             phase[0] ? " (" : "", phase, phase[0] ? ")" : "",
             killed && crew->deal.rows[link->index].alone ? ", with no other worker beside it" : "");
    mp_slot_close_row(crew, slot, why ? MP_CRASH : MP_TIMEOUT, reason);
}
