/* SPDX-License-Identifier: Apache-2.0 */
/* A run: rows are dealt out to workers as they become free, until none is left. */
#include "moeparity/suite.h"

#include "base/clock.h"
#include "harness/run/crew.h"
#include "harness/run/in_process.h"
#include "harness/run/interrupt.h"
#include "harness/run/settings.h"
#include "harness/verdict_make.h"

#include <stdlib.h>

#define ROUND_SECONDS 0.2 /* Ctrl-C is noticed within */

/* ---- one round ---- */

/* A replay is served before anything else at its place. */
static void go_on_replaying(mp_crew *crew) {
    for (int i = 0; i < crew->size && !mp_interrupted(); i++) {
        mp_slot *slot = &crew->slots[i];
        if (slot->replay.active && slot->link->state == MP_LINK_NONE) mp_slot_start(crew, slot);
        if (slot->replay.active && slot->link->state == MP_LINK_IDLE) mp_slot_listen(crew, slot);
        if (slot->replay.active && slot->link->state == MP_LINK_IDLE)
            mp_slot_hand(crew, slot, mp_replay_next(&slot->replay));
    }
}

static bool may_deal(const mp_crew *crew) {
    return !crew->ended && crew->deal.left > 0 && !mp_interrupted();
}

/* What fits in beside nobody gets the machine to itself: the other workers end, with all that they keep. */
static void hand_out_alone(mp_crew *crew) {
    mp_slot *only = NULL;
    if (!may_deal(crew) || mp_crew_count(crew, MP_LINK_BUSY) + mp_crew_count(crew, MP_LINK_STARTING) > 0)
        return;
    for (int i = 0; i < crew->size; i++) {
        mp_slot *slot = &crew->slots[i];
        if (slot->link->state != MP_LINK_IDLE) continue;
        if (only) mp_link_kill(slot->link);
        only = only ? only : slot;
    }
    if (only) mp_slot_hand(crew, only, mp_deal_any(&crew->deal));
}

/* Rows to the idle workers that still live, and workers for the rows that are left then. The first one starts
 * alone. */
static void hand_out(mp_crew *crew) {
    mp_seat seats[MP_CREW_MAX];
    go_on_replaying(crew);
    for (int i = 0; i < crew->size && may_deal(crew); i++) {
        mp_slot *slot = &crew->slots[i];
        if (slot->replay.active) continue;
        if (slot->link->state == MP_LINK_IDLE) mp_slot_listen(crew, slot);
        if (slot->link->state != MP_LINK_IDLE || !may_deal(crew)) continue;
        const int seat = mp_crew_seats(crew, slot, seats);
        const size_t index = mp_deal_next(&crew->deal, seats, crew->size, seat);
        if (index != MP_NO_CASE) mp_slot_hand(crew, slot, index);
    }
    hand_out_alone(crew);
    for (int i = 0; i < (crew->opened ? crew->size : 1) && may_deal(crew); i++) {
        mp_slot *slot = &crew->slots[i];
        const size_t starting = (size_t)mp_crew_count(crew, MP_LINK_STARTING);
        const bool wanted =
            mp_deal_open_rows(&crew->deal) > starting || mp_crew_count(crew, MP_LINK_NONE) == crew->size;
        if (slot->link->state == MP_LINK_NONE && !slot->retired && !slot->replay.active && wanted)
            mp_slot_start(crew, slot);
    }
}

static bool is_waited_for(const mp_link *link) {
    return link->state == MP_LINK_STARTING || link->state == MP_LINK_BUSY;
}

/* Waits for the workers that start or have a row: those that have spoken are listened to, those past their
 * deadline are killed. */
static void wait_for_workers(mp_crew *crew) {
    struct pollfd fds[2 * MP_CREW_MAX];
    double next = mp_seconds_now() + ROUND_SECONDS;
    for (int i = 0; i < crew->size; i++) {
        const mp_link *link = &crew->links[i];
        for (int k = 0; k < 2; k++) fds[2 * i + k] = mp_link_poll(link, k);
        if (!is_waited_for(link)) fds[2 * i].fd = fds[2 * i + 1].fd = -1;
        if (is_waited_for(link) && link->deadline < next) next = link->deadline;
    }
    const double left = next - mp_seconds_now();
    if (poll(fds, 2 * (nfds_t)crew->size, left > 0 ? (int)(left * 1000) + 1 : 0) < 0 || mp_interrupted())
        return; /* a signal to the whole group ends the workers too: no crash of a case */
    for (int i = 0; i < crew->size; i++) {
        mp_link *link = &crew->links[i];
        if (fds[2 * i].revents || fds[2 * i + 1].revents) mp_slot_listen(crew, &crew->slots[i]);
        if (!is_waited_for(link)) continue;
        if (mp_seconds_now() > link->deadline)
            mp_slot_lost(crew, &crew->slots[i], NULL);
        else if (mp_seconds_now() - link->told > MP_TELL_SECONDS)
            mp_link_tell_phase(link, &crew->o);
    }
}

/* ---- the run ---- */

/* Every case has passed: the worker writes the file, whatever signal comes now. */
static void commit(mp_crew *crew) {
    mp_link *link = &crew->links[0];
    link->deadline = mp_seconds_now() + crew->o.settings.timeout;
    mp_link_send(link, json_pack("{s:{}}", "commit"));
    json_t *committed;
    crew->status = mp_link_answer(link, &crew->o, "committed", NULL, &committed, &crew->err);
    json_decref(committed);
}

static bool works(const mp_crew *crew) {
    bool replays = false;
    for (int i = 0; i < crew->size; i++) replays = replays || crew->slots[i].replay.active;
    const bool all = crew->ended || crew->deal.left == 0;
    return !all || replays || mp_crew_count(crew, MP_LINK_BUSY) > 0;
}

static mp_status run_in_workers(mp_crew *crew, mp_error *err) {
    mp_signals old;
    mp_signals_catch(false, &old);
    while (!mp_interrupted()) {
        hand_out(crew);
        if (!works(crew)) break;
        wait_for_workers(crew);
    }
    crew->info->interrupted = mp_interrupted(); /* one that comes later comes too late */
    for (int i = 0; i < crew->size; i++) {
        mp_slot *slot = &crew->slots[i];
        if (slot->replay.active) mp_slot_give_up_replay(crew, slot, "it was interrupted");
        mp_slot_forget_rows(slot);
    }
    if (crew->o.record && crew->status == MP_OK && !crew->ended && !crew->info->interrupted) commit(crew);
    mp_links_close(crew->links, crew->size, mp_interrupted());
    mp_signals_release(&old);
    if (crew->status == MP_EUNSUPPORTED && !crew->opened) {
        mp_skip_all(crew->matrix, &crew->o, crew->err.text, crew->verdicts);
        crew->status = MP_OK;
    }
    if (crew->status != MP_OK && err) *err = crew->err;
    return crew->status;
}

/* A worker for each job of each device, device by device, as far as there are rows. */
static mp_status man(mp_crew *crew, mp_error *err) {
    mp_settings *settings = &crew->o.settings;
    if (settings->devices && crew->o.in_process)
        return mp_fail(err, MP_EINPUT,
                       "devices %s without workers: expected CUDA_VISIBLE_DEVICES to say which",
                       settings->devices);
    const mp_status status = mp_devices_choose(settings->devices, &crew->devices, err);
    if (status != MP_OK) return status;
    const int devices = crew->devices.count, most = crew->o.record ? 1 : MP_CREW_MAX;
    const int64_t asked =
        (settings->jobs > 1 && !crew->o.record ? settings->jobs : 1) * (int64_t)(devices > 0 ? devices : 1);
    if (devices > 0 && asked > most)
        return mp_fail(err, MP_EINPUT, "devices %s need %lld workers: expected at most %d%s",
                       settings->devices, (long long)asked, most,
                       crew->o.record ? ", as a recording has" : "");
    const size_t wanted = asked < most ? (size_t)asked : (size_t)most;
    crew->size = (int)(wanted < crew->matrix->count ? wanted : crew->matrix->count);
    if (crew->size < 1) crew->size = 1;
    settings->jobs = crew->size;
    for (int i = 0; i < crew->size; i++)
        crew->slots[i] = (mp_slot){.link = &crew->links[i],
                                   .device = devices > 0 ? &crew->devices.device[i % devices] : NULL};
    return MP_OK;
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
    const double start_time = mp_seconds_now();
    for (size_t i = 0; i < matrix->count; i++) mp_verdict_init(&verdicts[i]);
    mp_status status = mp_settings_check(&options->settings, err);
    if (status == MP_OK) status = check_rows(matrix, options, err);
    if (status != MP_OK) return status;
    mp_crew *crew = calloc(1, sizeof *crew); /* large */
    if (!crew) return mp_fail(err, MP_EMEMORY, "no memory for %d workers", MP_CREW_MAX);
    crew->matrix = matrix;
    crew->o = *options;
    crew->verdicts = verdicts;
    crew->info = info;
    if (!(crew->o.settings.timeout > 0)) crew->o.settings.timeout = MP_TIMEOUT_SECONDS;
    status = man(crew, err);
    if (status == MP_OK) status = mp_deal_open(matrix, crew->size, options->record != NULL, &crew->deal, err);
    if (status == MP_OK)
        status = options->in_process ? mp_run_in_process(matrix, &crew->o, verdicts, info, err)
                                     : run_in_workers(crew, err);
    for (size_t i = 0; i < matrix->count; i++) mp_run_info_join(info, &info->blas, verdicts[i].blas);
    info->seconds = mp_seconds_now() - start_time;
    mp_deal_close(&crew->deal);
    free(crew);
    return status;
}
