/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/phases.h"

#include "base/clock.h"

#include <string.h>

static struct {
    mp_phase phase;
    double since, seconds[MP_PHASE_COUNT];
} now;

void mp_phases_begin(void) {
    memset(&now, 0, sizeof now);
    now.phase = MP_PHASE_OTHER;
    now.since = mp_seconds_now();
}

mp_phase mp_phase_enter(mp_phase phase) {
    const double time = mp_seconds_now();
    const mp_phase left = now.phase;
    now.seconds[left] += time - now.since;
    now.since = time;
    now.phase = phase;
    return left;
}

void mp_phases_end(double seconds[MP_PHASE_COUNT]) {
    mp_phase_enter(MP_PHASE_OTHER);
    memcpy(seconds, now.seconds, sizeof now.seconds);
}
