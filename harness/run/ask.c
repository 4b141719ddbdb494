/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/ask.h"

#include "base/clock.h"
#include "harness/run/link.h"

#include <signal.h>

static json_t *taken(mp_request *request) {
    json_t *message = request->message;
    request->message = NULL;
    return message;
}

/* The next request, to a worker that has answered. */
static void send(mp_link *link, mp_request *request, double seconds) {
    link->state = MP_LINK_BUSY;
    link->since = mp_seconds_now();
    link->deadline = link->since + seconds;
    mp_link_send(link, taken(request));
}

static mp_status ask(const mp_suite_options *how, const char *path, mp_request *requests, int count,
                     mp_error *err) {
    mp_link link;
    const double seconds = how->settings.timeout > 0 ? how->settings.timeout : MP_TIMEOUT_SECONDS;
    mp_status status = mp_link_start(&link, how->program, NULL, taken(&requests[0]), seconds, err);
    if (status != MP_OK) return status;
    for (int i = 0; status == MP_OK && i < count; i++) {
        if (i > 0) send(&link, &requests[i], seconds);
        status = mp_link_answer(&link, how, requests[i].answer, path, &requests[i].body, err);
    }
    link.state = MP_LINK_IDLE;
    mp_links_close(&link, 1, status != MP_OK);
    return status;
}

mp_status mp_ask_worker(const mp_suite_options *how, const char *path, mp_request *requests, int count,
                        mp_error *err) {
    struct sigaction old;
    /* A worker that is gone is found when it is read from. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &old);
    const mp_status status = ask(how, path, requests, count, err);
    sigaction(SIGPIPE, &old, NULL);
    for (int i = 0; i < count; i++) json_decref(requests[i].message); /* those that were not sent */
    return status;
}
