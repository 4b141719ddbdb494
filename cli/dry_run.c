/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dry_run.h"

#include "cli/common.h"
#include "harness/run/devices.h"
#include "harness/run/golden_cases.h"
#include "harness/run/settings.h"
#include "moeparity/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many of the cases the golden holds. */
static mp_status count_stored(const mp_matrix *matrix, const char *path, double timeout_seconds,
                              size_t *stored, mp_error *err) {
    mp_texts names = {0};
    *stored = 0;
    const mp_status status = mp_suite_golden_cases(path, false, timeout_seconds, NULL, &names, err);
    for (size_t i = 0; status == MP_OK && i < matrix->count; i++) {
        bool found = false;
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&matrix->rows[i].c, name, sizeof name);
        for (size_t k = 0; k < names.count && !found; k++) found = strcmp(names.text[k], name) == 0;
        *stored += found;
    }
    mp_texts_free(&names);
    return status;
}

/* The name of a subject that there is: that it cannot run here is for the run to say. NULL is fine. */
static mp_status check_subject(const char *name, mp_error *err) {
    mp_subject subject;
    if (!name || mp_subject_is_foreign(name)) return MP_OK; /* nobody else's code is run here */
    const mp_status status = mp_subject_open(name, &subject, err);
    if (status == MP_OK) mp_subject_close(&subject);
    return status == MP_EINPUT ? status : MP_OK;
}

/* Tuned files are read: one that is wrong is bad input, as in the run. */
static mp_status check_tiles(const mp_matrix *matrix, const mp_settings *settings, mp_error *err) {
    const mp_config_query query = {settings->device, settings->triton, settings->config};
    mp_status status = MP_OK;
    mp_config *config = malloc(sizeof *config); /* large */
    if (!config) return mp_fail(err, MP_EMEMORY, "no memory for a configuration");
    for (size_t i = 0; i < matrix->count && status == MP_OK; i++)
        status = mp_config_resolve(&matrix->rows[i].c, &query, config, err);
    free(config);
    return status;
}

mp_status mp_cli_dry_run(const mp_matrix *matrix, const mp_settings *settings, mp_error *err) {
    size_t stored = 0, pairs = 0, afters = 0;
    mp_status status = check_subject(settings->subject, err);
    if (status == MP_OK) status = check_subject(settings->against, err);
    if (status == MP_OK) status = check_tiles(matrix, settings, err);
    if (status == MP_OK) status = mp_devices_choose(settings->devices, &(mp_devices){0}, err);
    for (size_t i = 0; i < matrix->count && status == MP_OK; i++)
        status = mp_settings_check_row(settings, &matrix->rows[i], err);
    if (status == MP_OK && settings->golden)
        status = count_stored(matrix, settings->golden, settings->timeout, &stored, err);
    if (status != MP_OK) return status;
    for (size_t i = 0; i < matrix->count; i++) {
        const mp_matrix_row *row = &matrix->rows[i];
        char name[MP_CASE_TEXT_MAX];
        mp_case_text(&row->c, name, sizeof name);
        puts(name);
        for (size_t p = 0; p < row->pair_count; p++) printf("    = %s\n", row->pair_text[p]);
        for (size_t p = 0; p < row->after_count; p++) printf("    after %s\n", row->after_text[p]);
        pairs += row->pair_count;
        afters += row->after_count;
    }
    if (settings->edit) mp_cli_say(stdout, "edited: %s", settings->edit);
    printf("%zu case%s would run with subject %s%s; nothing was run\n", matrix->count,
           matrix->count == 1 ? "" : "s", settings->subject, settings->strict ? ", strictly" : "");
    printf(
        "judged: bound, rms, nan, integer, poison, guard, input; bits, permutation and batch as far as the "
        "subject's contract promises them; graph and streams as far as the subject offers them\n");
    if (settings->repeat > 1) printf("judged: repeat, %d runs of each case\n", settings->repeat);
    if (pairs > 0) printf("judged: %zu pair%s\n", pairs, pairs == 1 ? "" : "s");
    if (afters > 0) printf("judged: %zu sequence%s\n", afters, afters == 1 ? "" : "s");
    if (settings->against) printf("reported: the difference from subject %s\n", settings->against);
    if (settings->golden)
        mp_cli_say(stdout, "judged: golden %s, which holds %zu of the cases", settings->golden, stored);
    return MP_OK;
}
