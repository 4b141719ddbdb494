/* SPDX-License-Identifier: Apache-2.0 */
/* Rows: handed to workers, and what comes back. */
#include "harness/run/crew.h"

#include "base/clock.h"
#include "harness/run/in_process.h"
#include "harness/run/message.h"
#include "harness/verdict_json.h"
#include "harness/verdict_make.h"

#include <stdlib.h>
#include <string.h>

int mp_crew_count(const mp_crew *crew, mp_link_state state) {
    int count = 0;
    for (int i = 0; i < crew->size; i++) count += crew->links[i].state == state;
    return count;
}

mp_settings mp_slot_settings(const mp_crew *crew, const mp_slot *slot) {
    mp_settings settings = crew->o.settings;
    settings.devices = slot && slot->device ? slot->device->name : NULL;
    return settings;
}

static const mp_matrix_row *row_of(const mp_crew *crew, size_t index) {
    return index == MP_NO_CASE ? NULL : &crew->matrix->rows[index];
}

static void report(mp_crew *crew, const mp_slot *slot, size_t index) {
    mp_verdict *v = &crew->verdicts[index];
    if (slot && slot->device) mp_verdict_set(v, &v->device, "%s", slot->device->name);
    crew->ended = crew->ended || mp_ends_run(&crew->o, v);
    if (crew->o.progress) crew->o.progress(crew->o.ctx, index, v);
}

/* ---- a row that failed behind others ---- */

void mp_slot_forget_rows(mp_slot *slot) {
    free(slot->ran);
    slot->ran = NULL;
    slot->ran_count = 0;
}

/* Without memory for it the row is as good as alone: nothing is run again. */
static void remember_row(mp_slot *slot, size_t index) {
    size_t *more = realloc(slot->ran, (slot->ran_count + 1) * sizeof *more);
    if (more) slot->ran = more;
    if (more) more[slot->ran_count++] = index;
}

/* A verdict is there: it is told, or first found out what it owes to the rows before it in its process. */
static void conclude(mp_crew *crew, mp_slot *slot, size_t index) {
    const mp_outcome outcome = crew->verdicts[index].outcome;
    const bool failed = outcome == MP_FAIL || outcome == MP_CRASH || outcome == MP_TIMEOUT;
    if (!failed || slot->ran_count == 0 || crew->o.record || crew->matrix->rows[index].file) {
        report(crew, slot, index);
        return;
    }
    mp_replay_begin(&slot->replay, index, slot->ran, slot->ran_count);
    slot->ran = NULL;
    slot->ran_count = 0;
    crew->ended = crew->ended || mp_ends_run(&crew->o, &crew->verdicts[index]);
    mp_link_kill(slot->link);
}

static void replayed(mp_crew *crew, mp_slot *slot, mp_outcome outcome) {
    const size_t index = slot->replay.row;
    const mp_settings settings = mp_slot_settings(crew, slot);
    const mp_replay_step step =
        mp_replay_take(&slot->replay, outcome, crew->matrix, &settings, &crew->verdicts[index]);
    if (step != MP_REPLAY_GOES_ON) mp_link_kill(slot->link);
    if (step == MP_REPLAY_ENDS) report(crew, slot, index);
}

void mp_slot_give_up_replay(mp_crew *crew, mp_slot *slot, const char *why) {
    const size_t index = slot->replay.row;
    mp_link_kill(slot->link);
    mp_replay_give_up(&slot->replay, why, &crew->verdicts[index]);
    report(crew, slot, index);
}

/* ---- a row begins and ends ---- */

int mp_crew_seats(const mp_crew *crew, const mp_slot *slot, mp_seat seats[MP_CREW_MAX]) {
    for (int i = 0; i < crew->size; i++) {
        const mp_link *link = &crew->links[i];
        const bool busy = link->state == MP_LINK_BUSY;
        seats[i] = (mp_seat){.busy = busy,
                             .row = busy                          ? link->index
                                    : link->state == MP_LINK_IDLE ? link->previous
                                                                  : MP_NO_CASE};
    }
    return slot ? (int)(slot - crew->slots) : 0;
}

void mp_slot_hand(mp_crew *crew, mp_slot *slot, size_t index) {
    mp_link *link = slot->link;
    mp_seat seats[MP_CREW_MAX];
    const bool begins = !slot->replay.active && !crew->deal.rows[index].alone;
    if (begins && crew->o.progress) crew->o.progress(crew->o.ctx, index, NULL);
    link->state = MP_LINK_BUSY;
    link->index = index;
    link->stage[0] = link->what[0] = '\0';
    link->since = link->told = mp_seconds_now();
    link->deadline = link->since + crew->o.settings.timeout;
    const int seat = mp_crew_seats(crew, slot, seats),
              threads = mp_deal_threads(&crew->deal, seats, crew->size, seat);
    json_t *row = mp_json_row(&crew->matrix->rows[index]);
    json_object_set_new(row, "threads", json_integer(threads));
    mp_link_send(link, json_pack("{s:o}", "run", row));
}

void mp_slot_close_row(mp_crew *crew, mp_slot *slot, mp_outcome outcome, const char *reason) {
    const size_t index = slot->link->index, previous = slot->link->previous;
    const mp_settings settings = mp_slot_settings(crew, slot);
    mp_link_kill(slot->link);
    if (slot->replay.active) {
        replayed(crew, slot, outcome);
        return;
    }
    mp_verdict_without_worker(row_of(crew, index), row_of(crew, previous), &settings, outcome, reason,
                              &crew->verdicts[index]);
    conclude(crew, slot, index);
}

void mp_crew_give_up_row(mp_crew *crew, size_t index, const char *why) {
    const mp_settings settings = mp_slot_settings(crew, NULL);
    mp_verdict_without_worker(row_of(crew, index), NULL, &settings, MP_CRASH, why, &crew->verdicts[index]);
    report(crew, NULL, index);
}

/* Beside others it lacked memory, which decides nothing: it comes again when they are done. */
static bool comes_again(mp_crew *crew, mp_slot *slot, size_t index) {
    if (!crew->verdicts[index].lacked_memory || !mp_deal_again(&crew->deal, index)) return false;
    mp_verdict_free(&crew->verdicts[index]);
    mp_verdict_init(&crew->verdicts[index]);
    remember_row(slot, index);
    return true;
}

void mp_slot_take_verdict(mp_crew *crew, mp_slot *slot, const json_t *json, bool lacked_memory) {
    mp_link *link = slot->link;
    const size_t index = link->index;
    const bool again = slot->replay.active;
    mp_verdict *v = again ? malloc(sizeof *v) : &crew->verdicts[index];
    mp_error err = {0};
    char name[MP_CASE_TEXT_MAX];
    if (!v) {
        mp_slot_give_up_replay(crew, slot, "there was no memory for a verdict");
        return;
    }
    mp_case_text(&crew->matrix->rows[index].c, name, sizeof name);
    mp_status status = mp_verdict_from_json(json, v, &err);
    if (status == MP_OK && strcmp(v->name, name) != 0)
        status = mp_fail(&err, MP_EINPUT, "the worker judged another case: %s", v->name);
    const mp_outcome outcome = status == MP_OK ? v->outcome : MP_CRASH;
    v->lacked_memory = status == MP_OK && lacked_memory;
    if (again) {
        mp_verdict_free(v);
        free(v);
    }
    if (status != MP_OK) {
        mp_slot_close_row(crew, slot, MP_CRASH, err.text);
        return;
    }
    link->state = MP_LINK_IDLE;
    link->previous = index;
    link->index = MP_NO_CASE;
    if (again) {
        replayed(crew, slot, outcome);
        return;
    }
    if (outcome == MP_CRASH) mp_link_kill(link); /* a device error leaves the context unusable */
    if (comes_again(crew, slot, index)) return;
    conclude(crew, slot, index);
    remember_row(slot, index);
}
