/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/link.h"

#include "base/clock.h"
#include "harness/run/message.h"
#include "harness/run/program.h"
#include "harness/progress.h"
#include "moeparity/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum {
    END_SECONDS = 1,   /* for a process to end that has closed its pipe */
    CLOSE_SECONDS = 30 /* for workers to close their subjects: a sick device may hang that */
};

/* Threads that wait for each other spin, with libgomp for milliseconds: on a busy machine for one that has no
 * core, which those that wait keep from it. A small case takes 60 times as long then. A worker's threads spin
 * about as long as it takes to sleep and to be woken instead, unless the user has said how to wait. Where the
 * cores are idle that costs a case of many short loops a tenth; not to spin at all costs it half. */
static const char *how_to_wait(void) {
    return getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") ? NULL : "GOMP_SPINCOUNT=3000";
}

mp_status mp_link_start(mp_link *link, const char *const *program, const mp_device *device, json_t *first,
                        double seconds, mp_error *err) {
    char version[64];
    snprintf(version, sizeof version, MP_WORKER_VARIABLE "=%d", MP_PROTOCOL);
    const char *variables[4] = {version}, *waiting = how_to_wait();
    int count = 1;
    if (device) variables[count++] = device->visible;
    if (waiting) variables[count++] = waiting;
    *link = (mp_link){.index = MP_NO_CASE, .previous = MP_NO_CASE};
    if (mp_worker_requested()) {
        json_decref(first);
        return mp_fail(err, MP_EINPUT,
                       "this program was started as a worker, and does not serve: call mp_worker_serve when "
                       "mp_worker_requested()");
    }
    mp_status status = mp_channel_push(&link->channel, first, err);
    if (status == MP_OK)
        status = mp_process_start(mp_worker_program(program), variables, -1, &link->process, err);
    if (status != MP_OK) {
        mp_channel_free(&link->channel);
        return status;
    }
    link->channel.in = link->process.from;
    link->channel.out = link->process.to;
    link->state = MP_LINK_STARTING;
    link->since = link->told = mp_seconds_now();
    link->deadline = link->since + seconds;
    mp_channel_flush(&link->channel);
    return MP_OK;
}

void mp_link_send(mp_link *link, json_t *message) {
    if (mp_channel_push(&link->channel, message, NULL) == MP_OK) mp_channel_flush(&link->channel);
}

struct pollfd mp_link_poll(const mp_link *link, int which) {
    const bool wanted = link->state != MP_LINK_NONE && (which == 0 || mp_channel_waiting(&link->channel));
    return (struct pollfd){.fd = !wanted      ? -1
                                 : which == 0 ? link->process.from
                                              : link->process.to,
                           .events = which == 0 ? POLLIN : POLLOUT};
}

static void forget(mp_link *link) {
    mp_channel_free(&link->channel);
    link->state = MP_LINK_NONE;
}

void mp_link_kill(mp_link *link) {
    mp_process_kill(&link->process);
    forget(link);
}

void mp_links_close(mp_link *links, int count, bool kill) {
    const double deadline = mp_seconds_now() + CLOSE_SECONDS;
    int status;
    for (int i = 0; i < count; i++)
        if (links[i].state == MP_LINK_IDLE && !kill) mp_process_hang_up(&links[i].process);
    for (int i = 0; i < count; i++) {
        if (links[i].state == MP_LINK_IDLE && !kill)
            mp_process_wait(&links[i].process, deadline - mp_seconds_now(), &status);
        mp_link_kill(&links[i]);
    }
}

json_t *mp_link_receive(mp_link *link, bool *gone, char why[200]) {
    mp_error err = {0};
    json_t *message = NULL;
    int status = 0;
    mp_channel_flush(&link->channel);
    mp_status told = mp_channel_next(&link->channel, &message, &err);
    const bool open = message || told != MP_OK || mp_channel_receive(&link->channel);
    if (!message && told == MP_OK) told = mp_channel_next(&link->channel, &message, &err);
    *gone = !message && (told != MP_OK || !open);
    if (!*gone) return message;
    if (told != MP_OK) {
        snprintf(why, 200, "%.199s", err.text);
    } else if (mp_process_wait(&link->process, END_SECONDS, &status)) {
        link->died_of = status != MP_PROCESS_END_UNKNOWN && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        strcpy(why, "the worker ");
        mp_process_end_text(status, why + strlen(why), 200 - strlen(why));
    } else {
        strcpy(why, "the worker closed its end and did not end");
    }
    mp_process_kill(&link->process);
    return NULL;
}

void mp_link_progress(mp_link *link, const json_t *progress) {
    const char *stage = json_string_value(json_object_get(progress, "stage")),
               *what = json_string_value(json_object_get(progress, "what"));
    snprintf(link->stage, sizeof link->stage, "%s", stage ? stage : "");
    snprintf(link->what, sizeof link->what, "%s", what ? what : "");
    if (link->state != MP_LINK_STARTING || link->compiles || strcmp(link->what, "kernels") != 0) return;
    link->compiles = true;
    link->deadline += MP_KERNELS_SECONDS;
}

mp_status mp_link_blame(const mp_link *link, const char *path, const char *why, mp_error *err) {
    char phase[MP_PHASE_MAX];
    const bool reading = path && (strcmp(link->what, "golden") == 0 || strcmp(link->what, "file") == 0);
    const double seconds = mp_seconds_now() - link->since;
    mp_phase_text(link->stage, link->what, phase);
    if (reading && link->died_of && link->died_of != SIGKILL)
        return mp_fail(err, MP_EINPUT, "%s: libhdf5 crashed while it was read (signal %d): damaged or forged",
                       path, link->died_of);
    if (reading && !why) return mp_fail(err, MP_EIO, "%s: not read after %.0f s", path, seconds);
    const char *open = phase[0] ? " (" : "", *close = phase[0] ? ")" : "";
    if (why) return mp_fail(err, MP_EDEVICE, "%s before it answered%s%s%s", why, open, phase, close);
    return mp_fail(err, MP_EDEVICE, "the worker has not answered after %.0f s%s%s%s", seconds, open, phase,
                   close);
}

void mp_link_tell_phase(mp_link *link, const mp_suite_options *o) {
    char text[MP_PHASE_MAX];
    link->told = mp_seconds_now();
    mp_phase_text(link->stage, link->what, text);
    if (o->phase && text[0]) o->phase(o->ctx, link->index, text, link->told - link->since);
}

/* The next message that is no progress; NULL: none came, and the process is gone. */
static json_t *wait_for_message(mp_link *link, const mp_suite_options *o, const char *path, mp_error *err) {
    bool gone = false;
    char why[200];
    while (!gone && mp_seconds_now() < link->deadline) {
        struct pollfd fds[] = {mp_link_poll(link, 0), mp_link_poll(link, 1)};
        if (poll(fds, 2, 200) < 0) continue;
        for (json_t *message; (message = mp_link_receive(link, &gone, why)); json_decref(message)) {
            const json_t *progress = json_object_get(message, "progress");
            if (!progress) return message;
            mp_link_progress(link, progress);
            mp_link_tell_phase(link, o);
        }
        if (!gone && mp_seconds_now() - link->told > MP_TELL_SECONDS) mp_link_tell_phase(link, o);
    }
    mp_link_blame(link, path, gone ? why : NULL, err);
    mp_link_kill(link);
    return NULL;
}

mp_status mp_link_answer(mp_link *link, const mp_suite_options *o, const char *key, const char *path,
                         json_t **body, mp_error *err) {
    json_t *message = wait_for_message(link, o, path, err);
    *body = NULL;
    if (!message) return err->status;
    const json_t *failed = json_object_get(message, "failed");
    mp_status status = MP_OK;
    if (failed)
        status = mp_json_to_failed(failed, err);
    else if (!(*body = json_incref(json_object_get(message, key))))
        status = mp_fail(err, MP_EDEVICE, "the worker did not answer with '%s'", key);
    json_decref(message);
    return status;
}
