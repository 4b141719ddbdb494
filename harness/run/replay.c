/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/replay.h"

#include "harness/run/repro.h"
#include "harness/verdict_make.h"

#include <stdio.h>
#include <stdlib.h>

void mp_replay_begin(mp_replay *replay, size_t row, size_t *before, size_t count) {
    *replay = (mp_replay){.active = true, .row = row, .before = before, .count = count};
}

size_t mp_replay_at(const mp_replay *replay, size_t i) {
    return i < replay->tried ? replay->before[replay->count - replay->tried + i] : replay->row;
}

size_t mp_replay_next(const mp_replay *replay) {
    return mp_replay_at(replay, replay->done);
}

static void end(mp_replay *replay) {
    free(replay->before);
    *replay = (mp_replay){0};
}

/* The line runs the last `tried` of the rows before it; as many as it has room for. */
static void set_repro(const mp_replay *replay, const mp_matrix *matrix, const mp_settings *settings,
                      mp_verdict *v) {
    const mp_matrix_row *rows[MP_REPRO_ROWS];
    const size_t shown = replay->tried < MP_REPRO_ROWS ? replay->tried : MP_REPRO_ROWS;
    for (size_t i = 0; i < shown; i++) rows[i] = &matrix->rows[replay->before[replay->count - shown + i]];
    mp_verdict_set_repro(&matrix->rows[replay->row], rows, shown, settings, v);
}

/* Behind `tried` of `count` rows it failed again, or not even behind all of them. */
static void tell(const mp_replay *replay, bool again, mp_verdict *v) {
    const size_t tried = replay->tried, count = replay->count;
    char which[96] = "";
    if (!again)
        snprintf(which, sizeof which, ", and not again behind them");
    else if (tried < count && tried == 1)
        snprintf(which, sizeof which, "; the last of them is enough");
    else if (tried < count)
        snprintf(which, sizeof which, "; the last %zu of them are enough", tried);
    mp_verdict_set(v, &v->history, "passes alone; failed after %zu row%s of the same process%s", count,
                   count == 1 ? "" : "s", which);
    if (tried > MP_REPRO_ROWS)
        mp_verdict_set(v, &v->history, "%s; the line leaves out all but the last %d", v->history,
                       MP_REPRO_ROWS);
}

mp_replay_step mp_replay_take(mp_replay *replay, mp_outcome outcome, const mp_matrix *matrix,
                              const mp_settings *settings, mp_verdict *v) {
    const bool last = replay->done++ == replay->tried, gone = outcome == MP_CRASH || outcome == MP_TIMEOUT,
               failed = gone || outcome == MP_FAIL;
    if (!last && !gone) return MP_REPLAY_GOES_ON;
    if (!last) {
        mp_replay_give_up(replay, "one of the rows before it did not survive", v);
        return MP_REPLAY_ENDS;
    }
    if (outcome == MP_SKIP) {
        mp_replay_give_up(replay, "it was skipped", v);
        return MP_REPLAY_ENDS;
    }
    if (!failed && replay->tried < replay->count) {
        const size_t more = replay->tried == 0 ? 1 : 2 * replay->tried;
        replay->tried = more < replay->count ? more : replay->count;
        replay->done = 0;
        return MP_REPLAY_RESTARTS;
    }
    set_repro(replay, matrix, settings, v);
    if (replay->tried > 0) tell(replay, failed, v);
    end(replay);
    return MP_REPLAY_ENDS;
}

void mp_replay_give_up(mp_replay *replay, const char *why, mp_verdict *v) {
    const char *alone = replay->tried > 0 ? "passes alone; " : "";
    mp_verdict_set(v, &v->history, "%sfailed after %zu row%s of the same process; run again, %s", alone,
                   replay->count, replay->count == 1 ? "" : "s", why);
    end(replay);
}
