/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/progress.h"

#include <stddef.h>
#include <stdio.h>

static struct {
    mp_progress_listener *call;
    void *ctx;
    char what[MP_PHASE_MAX];
} listener;

void mp_progress_listen(mp_progress_listener *call, void *ctx) {
    listener.call = call;
    listener.ctx = ctx;
}

void mp_progress(const char *stage, const char *what) {
    snprintf(listener.what, sizeof listener.what, "%s", what);
    if (listener.call) listener.call(listener.ctx, stage, what);
}

void mp_progress_stage(const char *stage) {
    if (listener.call) listener.call(listener.ctx, stage, listener.what);
}

void mp_phase_text(const char *stage, const char *what, char text[MP_PHASE_MAX]) {
    snprintf(text, MP_PHASE_MAX, "%s%s%s", what, what[0] && stage[0] ? " " : "", stage);
}
