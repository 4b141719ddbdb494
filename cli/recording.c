/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/recording.h"

#include "cli/common.h"
#include "harness/run/parts.h"
#include "harness/verdict_make.h"

#include <string.h>

/* Executed are the rows of which there is no part. */
static void leave_out_kept(mp_share *share, const char *path, mp_cli_recording *recording) {
    size_t left = 0;
    const size_t all = share->matrix.count;
    for (size_t i = 0; i < all; i++) {
        const bool is_kept = mp_part_exists(path, recording->names.text[i]);
        if (is_kept && !(left == 0 && i + 1 == all)) continue; /* one is left: a run has a case */
        share->matrix.rows[left] = share->matrix.rows[i];
        share->place[left++] = share->place[i];
    }
    share->matrix.count = left;
    recording->kept = all - left;
}

mp_status mp_cli_recording_begin(const mp_args *args, mp_share *share, mp_record_options *record,
                                 mp_cli_recording *recording, mp_error *err) {
    const mp_status held = mp_parts_hold(record->path, &recording->held, err);
    if (held != MP_OK) return held;
    const size_t parts = mp_parts_count(record->path);
    const bool resume = mp_args_given(args, MP_OPT_RESUME);
    char name[MP_CASE_TEXT_MAX];
    if (parts > 0 && !resume)
        return mp_fail(
            err, MP_EINPUT,
            "%s.part keeps %zu case%s of an interrupted recording: --resume goes on with %s; without "
            "the folder the recording begins anew",
            record->path, parts, parts == 1 ? "" : "s", parts == 1 ? "it" : "them");
    for (size_t i = 0; i < share->matrix.count; i++) {
        mp_case_text(&share->matrix.rows[i].c, name, sizeof name);
        if (strcmp(mp_texts_add(&recording->names, "%s", name), name) != 0)
            return mp_fail(err, MP_EMEMORY, "no memory for the names of the cases");
    }
    record->cases = (const char *const *)recording->names.text;
    record->case_count = recording->names.count;
    record->keep = true;
    record->mixed = mp_args_given(args, MP_OPT_ALLOW_MIXED);
    if (resume) leave_out_kept(share, record->path, recording);
    if (recording->kept > 0)
        mp_cli_say(stdout, "resumed: %zu of %zu cases are kept in %s.part", recording->kept,
                   record->case_count, record->path);
    return MP_OK;
}

void mp_cli_recording_free(const mp_record_options *record, mp_cli_recording *recording) {
    if (record) mp_parts_release(record->path, recording->held);
    mp_texts_free(&recording->names);
}

static void say_not_written(const mp_record_options *record, const mp_tally *tally, bool interrupted) {
    if (tally->count[MP_FAIL] > 0) mp_parts_remove(record->path);
    const size_t parts = mp_parts_count(record->path);
    mp_cli_say(stderr, "moeparity: %s was not written: %s", record->path,
               interrupted ? "interrupted" : "a golden holds only cases that pass");
    if (parts > 0)
        mp_cli_say(stderr, "moeparity: %s.part keeps %zu of %zu cases: the same line with --resume goes on",
                   record->path, parts, record->case_count);
}

void mp_cli_recording_end(const mp_record_options *record, const char *instead_of,
                          const mp_cli_recording *recording, const mp_tally *tally, bool interrupted,
                          const mp_verdict *verdicts, size_t count) {
    const size_t all = record->case_count;
    size_t silent = 0; /* cases of which a golden can say nothing */
    if (all == 0) {
        mp_cli_say(stdout, "%s was not written: this shard has no case", record->path);
        return;
    }
    if ((size_t)tally->count[MP_PASS] != count || interrupted) {
        say_not_written(record, tally, interrupted);
        return;
    }
    mp_cli_say(stdout, "recorded %zu case%s %s %s", all, all == 1 ? "" : "s",
               instead_of ? "to stand in the place of those in" : "in",
               instead_of ? instead_of : record->path);
    if (recording->kept > 0)
        mp_cli_say(stdout, "%zu of them had been kept, and are in no report of this run", recording->kept);
    for (size_t i = 0; i < count; i++)
        silent += strcmp(verdicts[i].check[MP_CHECK_REPEAT].text, MP_NOTHING_REPEATS) == 0;
    if (silent)
        mp_cli_say(stdout, "of %zu of them " MP_NOTHING_REPEATS ": nothing of theirs can be verified",
                   silent);
}
