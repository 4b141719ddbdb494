/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that end a run (SIGINT, SIGTERM, SIGHUP): caught while it lasts, so that the reports still get
 * written. */
#ifndef MP_HARNESS_INTERRUPT_H
#define MP_HARNESS_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

enum { MP_END_SIGNALS = 3 };
typedef struct mp_signals {
    struct sigaction end[MP_END_SIGNALS], pipe;
} mp_signals;

/* Catches them, but for those that are ignored (nohup stays nohup), and ignores SIGPIPE: a worker that died
 * is found when it is read from. `once`: the second one of a kind does what it did before. */
void mp_signals_catch(bool once, mp_signals *old);
void mp_signals_release(const mp_signals *old);
bool mp_interrupted(void); /* since the last mp_signals_catch */

#endif
