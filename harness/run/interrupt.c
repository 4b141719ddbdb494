/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/interrupt.h"

#include <stddef.h>

static const int ends[MP_END_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

void mp_signals_catch(bool once, mp_signals *old) {
    const struct sigaction caught = {.sa_handler = on_interrupt, .sa_flags = once ? (int)SA_RESETHAND : 0};
    interrupted = 0;
    for (int i = 0; i < MP_END_SIGNALS; i++) {
        sigaction(ends[i], NULL, &old->end[i]);
        if (old->end[i].sa_handler != SIG_IGN) sigaction(ends[i], &caught, NULL);
    }
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, &old->pipe);
}

void mp_signals_release(const mp_signals *old) {
    for (int i = 0; i < MP_END_SIGNALS; i++) sigaction(ends[i], &old->end[i], NULL);
    sigaction(SIGPIPE, &old->pipe, NULL);
}

bool mp_interrupted(void) {
    return interrupted != 0;
}
