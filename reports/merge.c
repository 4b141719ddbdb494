/* SPDX-License-Identifier: Apache-2.0 */
#include "reports/merge.h"

#include "base/text.h"
#include "harness/run/shard.h"
#include "harness/verdict_make.h"
#include "reports/stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMED = 10 }; /* of what is missing */

typedef struct part {
    const char *path;
    mp_stored_report report;
} part;

/* ---- whether they belong together ---- */

static mp_status check_alone(const part *p, mp_error *err) {
    const mp_run_info *info = &p->report.info;
    if (info->shards == 0 && info->matrix[0] == '\0')
        return mp_fail(err, MP_EINPUT,
                       "%s does not say of which matrix it is: an older version has written it", p->path);
    if (info->shards < 1 || info->shard < 0 || info->shard >= info->shards)
        return mp_fail(err, MP_EINPUT, "%s: shard %d of %d: expected one from 0 to %d", p->path, info->shard,
                       info->shards, info->shards - 1);
    for (size_t i = 0; i < p->report.count; i++) {
        const mp_verdict *v = &p->report.verdicts[i];
        if (v->row < 0 || v->row >= info->cases)
            return mp_fail(err, MP_EINPUT, "%s: verdicts[%zu]: row %lld of a matrix of %lld cases", p->path,
                           i, (long long)v->row, (long long)info->cases);
        if (i > 0 && v->row <= v[-1].row)
            return mp_fail(err, MP_EINPUT, "%s: verdicts[%zu]: row %lld behind row %lld", p->path, i,
                           (long long)v->row, (long long)v[-1].row);
    }
    return MP_OK;
}

static mp_status compare_texts(const part *first, const part *other, const char *what, const char *a,
                               const char *b, mp_error *err) {
    if (strcmp(a, b) == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s is of another run than %s: its %s is '%.200s', not '%.200s'",
                   other->path, first->path, what, b, a);
}

static mp_status compare_counts(const part *first, const part *other, const char *what, int64_t a, int64_t b,
                                mp_error *err) {
    if (a == b) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s is of another run than %s: it has %lld %s, not %lld", other->path,
                   first->path, (long long)b, what, (long long)a);
}

/* A shard without cases has started nothing: of the subject, and of files, it knows nothing. */
static mp_status check_together(const part *first, const part *other, mp_error *err) {
    const mp_run_info *a = &first->report.info, *b = &other->report.info;
    mp_status status = compare_texts(first, other, "matrix", a->matrix, b->matrix, err);
    if (status == MP_OK) status = compare_counts(first, other, "cases", a->cases, b->cases, err);
    if (status == MP_OK) status = compare_counts(first, other, "shards", a->shards, b->shards, err);
    if (status == MP_OK) status = compare_texts(first, other, "version", a->version, b->version, err);
    if (status == MP_OK) status = compare_texts(first, other, "commit", a->commit, b->commit, err);
    if (status == MP_OK)
        status = compare_texts(first, other, "line of settings", a->settings, b->settings, err);
    if (status == MP_OK)
        status = compare_texts(first, other, "kind", a->recording ? "recording" : "run",
                               b->recording ? "recording" : "run", err);
    if (status == MP_OK && a->subject[0] && b->subject[0])
        status = compare_texts(first, other, "subject", a->subject, b->subject, err);
    if (status == MP_OK) status = compare_texts(first, other, "digest of names", a->names, b->names, err);
    if (status == MP_OK && a->subject[0] && b->subject[0])
        status = compare_texts(first, other, "line of digests", a->files, b->files, err);
    return status;
}

/* ---- the order ---- */

static int by_shard(const void *a, const void *b) {
    const int x = ((const part *)a)->report.info.shard, y = ((const part *)b)->report.info.shard;
    return x < y ? -1 : x > y;
}

/* A verdict is large: what is sorted is where they are. */
typedef struct place {
    int64_t row;
    const mp_verdict *from;
} place;

static int by_row(const void *a, const void *b) {
    const int64_t x = ((const place *)a)->row, y = ((const place *)b)->row;
    return x < y ? -1 : x > y;
}

/* The numbers from 0 to all - 1 that are not among the `count` which `at` tells, in ascending order: "3",
 * "3, 5", "3, 5, ... (12 of them)". */
typedef int64_t number_at(const void *those, size_t i);
static void name_missing(const void *those, size_t count, number_at *at, int64_t all, mp_text *list) {
    const int64_t lacking = all - (int64_t)count;
    int64_t named = 0, number = 0;
    for (size_t i = 0; named < lacking && named < MOST_NAMED; number++) {
        if (i < count && at(those, i) == number)
            i++;
        else
            mp_text_add(list, "%s%lld", named++ ? ", " : "", (long long)number);
    }
    if (named < lacking) mp_text_add(list, ", ... (%lld of them)", (long long)lacking);
}

static int64_t shard_at(const void *parts, size_t i) {
    return ((const part *)parts)[i].report.info.shard;
}

static int64_t row_at(const void *verdicts, size_t i) {
    return ((const mp_verdict *)verdicts)[i].row;
}

/* The parts are in the order of shards: each is there, and once. */
static mp_status check_complete(const part *parts, size_t count, mp_error *err) {
    const int shards = parts[0].report.info.shards;
    mp_text missing = {0};
    for (size_t i = 1; i < count; i++)
        if (shard_at(parts, i) == shard_at(parts, i - 1))
            return mp_fail(err, MP_EINPUT, "shard %d of %d is there twice: %s and %s",
                           parts[i].report.info.shard, shards, parts[i - 1].path, parts[i].path);
    if (count == (size_t)shards) return MP_OK;
    name_missing(parts, count, shard_at, shards, &missing);
    mp_fail(err, MP_EINPUT, "of %d shards there is no report of %s", shards, mp_text_get(&missing));
    mp_text_free(&missing);
    return MP_EINPUT;
}

/* ---- the whole ---- */

static void merge_info(const part *parts, size_t count, mp_run_info *info) {
    const mp_run_info *first = &parts[0].report.info;
    mp_run_info_set(info, &info->version, "%s", first->version);
    mp_run_info_set(info, &info->commit, "%s", first->commit);
    mp_run_info_set(info, &info->command, "%s", first->command);
    mp_run_info_set(info, &info->settings, "%s", first->settings);
    mp_run_info_set(info, &info->matrix, "%s", first->matrix);
    mp_run_info_set(info, &info->names, "%s", first->names);
    mp_run_info_set(info, &info->date, "%s", first->date);
    info->cases = first->cases;
    info->shard = 0;
    info->shards = 1;
    info->recording = first->recording;
    for (size_t i = 0; i < count; i++) {
        const mp_run_info *own = &parts[i].report.info;
        if (strcmp(own->date, info->date) < 0) mp_run_info_set(info, &info->date, "%s", own->date);
        if (own->seconds > info->seconds) info->seconds = own->seconds;
        info->interrupted = info->interrupted || own->interrupted;
        mp_run_info_join(info, &info->subject, own->subject);
        mp_run_info_join(info, &info->files, own->files);
        mp_run_info_join(info, &info->device, own->device);
        mp_run_info_join(info, &info->blas, own->blas);
        mp_run_info_join(info, &info->host, own->host);
        if (parts[i].report.count > 0 || count == 1) mp_run_info_join(info, &info->versions, own->versions);
    }
}

static mp_status sort_rows(const part *parts, size_t count, place *places, mp_error *err) {
    size_t all = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < parts[i].report.count; k++)
            places[all++] = (place){parts[i].report.verdicts[k].row, &parts[i].report.verdicts[k]};
    qsort(places, all, sizeof *places, by_row);
    for (size_t i = 1; i < all; i++)
        if (places[i].row == places[i - 1].row)
            return mp_fail(err, MP_EINPUT, "row %lld is in two shards: '%s' and '%s'",
                           (long long)places[i].row, places[i - 1].from->name, places[i].from->name);
    return MP_OK;
}

/* Takes the verdicts out of the parts. */
static mp_status merge_verdicts(part *parts, size_t count, mp_merged *merged, mp_error *err) {
    size_t all = 0;
    for (size_t i = 0; i < count; i++) all += parts[i].report.count;
    place *places = malloc((all + 1) * sizeof *places);
    mp_verdict *verdicts = malloc((all + 1) * sizeof *verdicts);
    mp_status status = places && verdicts ? sort_rows(parts, count, places, err)
                                          : mp_fail(err, MP_EMEMORY, "no memory for %zu verdicts", all);
    if (status == MP_OK) {
        for (size_t i = 0; i < all; i++) verdicts[i] = *places[i].from;
        for (size_t i = 0; i < count; i++) parts[i].report.count = 0; /* they are the merged report's now */
        merged->verdicts = verdicts;
        merged->count = all;
        verdicts = NULL;
    }
    free(verdicts);
    free(places);
    return status;
}

static mp_status name_missing_rows(const mp_merged *merged, mp_error *err) {
    mp_text missing = {0};
    name_missing(merged->verdicts, merged->count, row_at, merged->info.cases, &missing);
    mp_fail(err, MP_EINPUT, "of %lld cases these rows are in no report: %s", (long long)merged->info.cases,
            mp_text_get(&missing));
    mp_text_free(&missing);
    return MP_EINPUT;
}

/* Each name stands at the row that the matrix has it at. An older report does not say it. */
static mp_status check_names(const mp_merged *merged, mp_error *err) {
    uint64_t names = 0;
    char text[17];
    for (size_t i = 0; i < merged->count; i++)
        names += mp_row_digest(merged->verdicts[i].row, merged->verdicts[i].name);
    snprintf(text, sizeof text, "%016" PRIx64, names);
    if (merged->info.names[0] == '\0' || strcmp(text, merged->info.names) == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "the names of the cases are not those of the matrix, each at its row: their digest is %s, "
                   "the reports say %s",
                   text, merged->info.names);
}

/* A run that fails, or was interrupted, may have left cases out; one that passes has not. */
static mp_status check_rows(const mp_merged *merged, mp_error *err) {
    mp_tally tally = {0};
    if ((int64_t)merged->count == merged->info.cases) return check_names(merged, err);
    for (size_t i = 0; i < merged->count; i++) mp_tally_add(&tally, &merged->verdicts[i]);
    const int code = mp_exit_code(&tally, &merged->info);
    return code == MP_EXIT_FAILURE || code == MP_EXIT_BROKEN ? MP_OK : name_missing_rows(merged, err);
}

mp_status mp_reports_merge(const char *const *paths, size_t count, mp_merged *merged, mp_error *err) {
    mp_status status = MP_OK;
    *merged = (mp_merged){0};
    mp_run_info_init(&merged->info);
    part *parts = calloc(count + 1, sizeof *parts);
    if (!parts) return mp_fail(err, MP_EMEMORY, "no memory for %zu reports", count);
    for (size_t i = 0; i < count; i++) mp_run_info_init(&parts[i].report.info);
    for (size_t i = 0; i < count && status == MP_OK; i++) {
        parts[i].path = paths[i];
        status = mp_stored_report_load(paths[i], &parts[i].report, NULL, err);
        if (status == MP_OK) status = check_alone(&parts[i], err);
        if (status == MP_OK && i > 0) status = check_together(&parts[0], &parts[i], err);
    }
    if (status == MP_OK && count == 0) status = mp_fail(err, MP_EINPUT, "no reports to merge");
    if (status == MP_OK) {
        qsort(parts, count, sizeof *parts, by_shard);
        status = check_complete(parts, count, err);
    }
    if (status == MP_OK) merge_info(parts, count, &merged->info);
    if (status == MP_OK) status = merge_verdicts(parts, count, merged, err);
    if (status == MP_OK) status = check_rows(merged, err);
    for (size_t i = 0; i < count; i++) mp_stored_report_free(&parts[i].report);
    free(parts);
    return status;
}

void mp_merged_free(mp_merged *merged) {
    for (size_t i = 0; i < merged->count; i++) mp_verdict_free(&merged->verdicts[i]);
    free(merged->verdicts);
    mp_run_info_free(&merged->info);
    merged->verdicts = NULL;
    merged->count = 0;
}
