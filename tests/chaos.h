/* SPDX-License-Identifier: Apache-2.0 */
/* A subject that does things to its worker, and runs with it. What it does is told by environment variables,
 * which workers inherit: CHAOS_MISHAP to the case with seed VICTIM, CHAOS_START when it is opened, and
 * CHAOS_PAUSE_MS before every execution. CHAOS_HOST_PERCENT: it says that each of its cases takes so much of
 * the host's memory, and cannot bear another one beside it while it pauses. */
#ifndef MP_TESTS_CHAOS_H
#define MP_TESTS_CHAOS_H

#include "moeparity/suite.h"
#include "moeparity/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { CASES = 5, VICTIM = 2 };
typedef enum mishap {
    NONE,
    SEGFAULT,
    ABORT,
    TERMINATED,
    EXIT,
    LIBRARY_EXIT,
    HANG,
    HALF_A_MESSAGE,
    NO_MESSAGE,
    NO_DEVICE,
    NO_MEMORY,
    NOT_SUPPORTED,
    BAD_INPUT,
    NO_MEMORY_ONCE, /* it makes the file that CHAOS_TOLD names, and where that is there it has some */
    KILLED,         /* as by the system, for memory */
    KILLED_ONCE,    /* as NO_MEMORY_ONCE */
    MISHAPS
} mishap;

/* What happens to it at a start: always, or (LATER) at every start but the run's first one, which makes the
 * file that CHAOS_STARTED names. */
typedef enum start { START, START_HANGS, START_DIES, START_EXITS, LATER_HANGS, LATER_DIES } start;

/* Opens "chaos" ("auto" as well), and passes on what it does not know. */
mp_status chaos_open(const char *name, mp_subject *s, mp_error *err);

/* What the callbacks saw. */
typedef struct progress {
    int started[CASES], judged[CASES], events, starting, phases[CASES];
    bool in_order;
    int interrupt_after; /* verdicts; 0: never */
} progress;

typedef struct fixture {
    mp_matrix matrix;
    mp_verdict v[CASES];
    mp_run_info info;
    progress progress;
    mp_suite_options options;
    mp_error err;
    char folder[32], started[64], told[64]; /* a folder, and names in it */
} fixture;

int chaos_set_up(void **state);
int chaos_tear_down(void **state);

void chaos_set(const char *variable, int value);
/* mp_suite_run from scratch; what it leaves is freed by the next one. Leaves no descriptor, no signal handler
 * and no process behind, whatever happens.
 */
mp_status chaos_run(fixture *f);
/* The same, and nothing was run: MP_EINPUT, with this in the message. */
void chaos_nothing_ran(fixture *f, const char *message);

#define chaos_test(name) cmocka_unit_test_setup_teardown(name, chaos_set_up, chaos_tear_down)

#endif
