/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/subjects/talk.h"

#include "harness/progress.h"
#include "harness/wire.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>

enum { END_SECONDS = 1, CLOSE_SECONDS = 10, WAIT_MS = 200 };

mp_status mp_talk_start(mp_talk *t, const char *const *argv, const char *variable, int third, mp_error *err) {
    signal(SIGPIPE, SIG_IGN); /* a program that is gone is found when it is read from */
    const mp_status status =
        mp_process_start(argv, (const char *const[]){variable, NULL}, third, &t->process, err);
    t->channel.in = t->process.from;
    t->channel.out = t->process.to;
    return status;
}

void mp_talk_end(mp_talk *t) {
    int status;
    mp_process_hang_up(&t->process);
    if (t->process.pid) mp_process_wait(&t->process, CLOSE_SECONDS, &status);
    mp_process_kill(&t->process);
    mp_channel_free(&t->channel);
}

/* It is gone, or what it says is of no use: nothing more is asked. */
static mp_status give_up(mp_talk *t, const char *why, const char *asked, mp_error *err) {
    int status;
    char end[128];
    if (why) {
        snprintf(t->ended, sizeof t->ended, "the program: %s", why);
    } else if (mp_process_wait(&t->process, END_SECONDS, &status)) {
        mp_process_end_text(status, end, sizeof end);
        snprintf(t->ended, sizeof t->ended, "the program %s", end);
    } else {
        snprintf(t->ended, sizeof t->ended, "the program closed its end and did not end");
    }
    mp_process_kill(&t->process);
    return mp_fail(err, MP_EDEVICE, "%s before it answered to %s", t->ended, asked);
}

mp_status mp_talk_ask(mp_talk *t, const char *asked, json_t *body, const char *wanted, json_t **answer,
                      mp_error *err) {
    mp_error why = {0};
    json_t *message = NULL, *request = json_pack("{s:o}", asked, body);
    *answer = NULL;
    if (t->ended[0]) {
        json_decref(request);
        return mp_fail(err, MP_EDEVICE, "%s", t->ended);
    }
    mp_status status = mp_channel_push(&t->channel, request, err);
    while (status == MP_OK) {
        const bool writable = mp_channel_flush(&t->channel);
        status = mp_channel_next(&t->channel, &message, &why);
        if (status != MP_OK) return give_up(t, why.text, asked, err);
        if (!message) {
            struct pollfd fds[] = {
                {.fd = t->process.from, .events = POLLIN},
                {.fd = mp_channel_waiting(&t->channel) ? t->process.to : -1, .events = POLLOUT}};
            poll(fds, 2, WAIT_MS);
            const bool there = fds[0].revents != 0;
            if (there && !mp_channel_receive(&t->channel)) return give_up(t, NULL, asked, err);
            if (!there && !writable) return give_up(t, NULL, asked, err);
            continue;
        }
        const json_t *progress = json_object_get(message, "progress"),
                     *failed = json_object_get(message, "failed");
        if ((*answer = json_incref(json_object_get(message, wanted)))) {
            json_decref(message);
            return MP_OK;
        }
        if (failed) status = mp_json_to_failed(failed, err);
        if (!progress && !failed) status = give_up(t, "something else was said", asked, err);
        const char *stage = json_string_value(json_object_get(progress, "stage"));
        if (stage) mp_progress_stage(stage);
        json_decref(message);
    }
    return status;
}
