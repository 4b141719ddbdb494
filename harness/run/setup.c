/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/setup.h"

#include "base/file.h"
#include "golden/files.h"
#include "harness/checks/session.h"
#include "harness/progress.h"
#include "harness/run/parts.h"
#include "harness/subjects/copies.h"
#include "harness/subjects/plugin.h"

#include <inttypes.h>
#include <stdlib.h>

static mp_status open_golden(const char *path, bool check, mp_golden **golden, mp_error *err) {
    mp_progress("", "golden");
    mp_status status = mp_golden_open(path, golden, err);
    if (status == MP_OK && check) status = mp_golden_check(*golden, err);
    if (status != MP_OK) return status;
    if (mp_golden_fill_version(*golden) != MP_FILL_VERSION)
        return mp_fail(err, MP_EINPUT,
                       "%s was made with fill version %d, this program fills with version %d: record it anew",
                       path, mp_golden_fill_version(*golden), MP_FILL_VERSION);
    return MP_OK;
}

/* Why the tiles of the case cannot be read. That the subject cannot run it is another matter. */
static mp_status check_tile(mp_subject *subject, const mp_case *c, mp_error *err) {
    mp_offer offer;
    const mp_status status = mp_subject_describe(subject, c, &offer, err);
    return status == MP_EINPUT || status == MP_EIO ? status : MP_OK;
}

/* A tuned file that cannot be read is bad input: nothing is run. */
static mp_status check_tiles(mp_setup *s, const mp_matrix *matrix, mp_error *err) {
    mp_status status;
    mp_progress("", "tiles");
    for (size_t i = 0; i < matrix->count; i++) {
        const mp_matrix_row *row = &matrix->rows[i];
        for (size_t p = 0; p <= row->pair_count; p++)
            if ((status = check_tile(&s->subject, p ? &row->pairs[p - 1] : &row->c, err)) != MP_OK)
                return status;
        for (size_t p = 0; p < row->after_count; p++)
            if ((status = check_tile(&s->subject, &row->afters[p], err)) != MP_OK) return status;
        if (s->against.name && (status = check_tile(&s->against, &row->c, err)) != MP_OK) return status;
    }
    return MP_OK;
}

/* variants: those of the cases, what runs before them, and smaller batches are run as well, which `against`
 * does not. Few tokens may take another tile. */
static mp_status prepare_kernels(mp_subject *subject, const mp_matrix *matrix, bool variants, mp_error *err) {
    if (!subject->prepare) return MP_OK;
    mp_progress("", "kernels");
    size_t count = 0;
    for (size_t i = 0; i < matrix->count; i++)
        count +=
            1 + (variants ? matrix->rows[i].pair_count + matrix->rows[i].after_count + MP_BATCH_SIZES : 0);
    mp_case *cases = malloc((count ? count : 1) * sizeof *cases);
    if (!cases) return mp_fail(err, MP_EMEMORY, "no memory for %zu cases", count);
    count = 0;
    for (size_t i = 0; i < matrix->count; i++) {
        cases[count++] = matrix->rows[i].c;
        for (size_t p = 0; variants && p < matrix->rows[i].pair_count; p++)
            cases[count++] = matrix->rows[i].pairs[p];
        for (size_t p = 0; variants && p < matrix->rows[i].after_count; p++)
            cases[count++] = matrix->rows[i].afters[p];
        int64_t sizes[MP_BATCH_SIZES];
        const int batches = variants ? mp_batch_sizes(&matrix->rows[i].c, sizes) : 0;
        for (int b = 0; b < batches; b++) {
            cases[count] = matrix->rows[i].c;
            cases[count++].M = sizes[b];
        }
    }
    const mp_status status = subject->prepare(subject, cases, count, err);
    free(cases);
    return status;
}

static mp_status open_subject(const mp_suite_options *o, const char *name, mp_subject *s, mp_error *err) {
    mp_subject_opener *open = o->open_subject ? o->open_subject : mp_subject_open;
    const mp_status status = open(name, s, err);
    if (o->settings.device) s->query.device = o->settings.device;
    if (o->settings.triton) s->query.triton = o->settings.triton;
    if (o->settings.config) s->query.file = o->settings.config;
    if (status == MP_OK && s->space) s->copies = mp_copies_open(s->space);
    return status;
}

/* ---- what decides beside the line ---- */

static void tell_digest(mp_setup *s, const char *what, uint64_t digest) {
    mp_text_add(&s->files, "%s%s %016" PRIx64, s->files.length > 0 ? ", " : "", what, digest);
}

static mp_status tell_file(mp_setup *s, const char *what, const char *path, mp_error *err) {
    char *data = NULL;
    size_t size = 0;
    const mp_status status = mp_file_read_at_most(path, SIZE_MAX, &data, &size, err);
    if (status == MP_OK) tell_digest(s, what, mp_digest(data, size));
    free(data);
    return status;
}

static mp_status tell_subject(mp_setup *s, const char *what, const char *name, mp_error *err) {
    char *path = name ? mp_plugin_path(name) : NULL;
    const mp_status status = path ? tell_file(s, what, path, err) : MP_OK;
    free(path);
    return status;
}

static mp_status tell_files(mp_setup *s, mp_error *err) {
    const mp_settings *settings = &s->options->settings;
    uint64_t root;
    mp_status status = MP_OK;
    if (s->golden && mp_golden_root(s->golden, &root))
        tell_digest(s, "golden", root);
    else if (s->golden)
        status = tell_file(s, "golden", mp_golden_path(s->golden), err);
    if (status == MP_OK) status = tell_subject(s, "subject", settings->subject, err);
    if (status == MP_OK) status = tell_subject(s, "against", settings->against, err);
    if (status == MP_OK && settings->config) status = tell_file(s, "config", settings->config, err);
    return status;
}

/* ---- all of it ---- */

static mp_status begin_recording(const mp_record_options *record, mp_setup *s, mp_error *err) {
    const char *words = s->options->settings.contract;
    if (!record->keep) return mp_record_begin(record, &s->subject, words, &s->recording, err);
    mp_progress("", "kept cases");
    mp_status status = mp_record_who(record, &s->subject, words, &s->who, err);
    if (status == MP_OK) status = mp_parts_begin(record->path, &s->options->settings, err);
    return status == MP_OK ? mp_parts_check(record, &s->who, &s->subject, words, err) : status;
}

mp_status mp_setup_open(const mp_suite_options *options, const mp_matrix *matrix, bool check_golden,
                        mp_setup *s, mp_error *err) {
    const mp_settings *settings = &options->settings;
    *s = (mp_setup){.options = options};
    mp_status status = MP_OK;
    if (settings->golden) status = open_golden(settings->golden, check_golden, &s->golden, err);
    if (status == MP_OK) status = mp_engine_choice_begin(&s->engine, settings, err);
    if (status != MP_OK) return status;
    s->run = (mp_run_options){.settings = *settings};
    if (matrix->count > 0 && matrix->rows[0].file) { /* there is nothing to run */
        s->subject.name = settings->subject;
        return MP_OK;
    }
    mp_progress("", "subject");
    if ((status = open_subject(options, settings->subject, &s->subject, err)) != MP_OK) return status;
    if (settings->against) status = open_subject(options, settings->against, &s->against, err);
    if (status == MP_OK) status = check_tiles(s, matrix, err);
    if (status == MP_OK) mp_engine_prepare(&s->engine, settings, &s->subject, matrix);
    if (status == MP_OK) status = prepare_kernels(&s->subject, matrix, true, err);
    if (status == MP_OK) status = prepare_kernels(&s->against, matrix, false, err);
    if (status == MP_OK) status = tell_files(s, err);
    if (status == MP_OK && options->record) status = begin_recording(options->record, s, err);
    s->run = (mp_run_options){.settings = *settings,
                              .subject = &s->subject,
                              .against = settings->against ? &s->against : NULL,
                              .golden = s->golden,
                              .weights = &s->weights};
    return status;
}

/* What cannot be described takes nothing: it will not be run. */
static size_t host_bytes_of(mp_subject *subject, const mp_case *c) {
    mp_offer offer;
    return mp_subject_describe(subject, c, &offer, NULL) == MP_OK ? offer.host_bytes : 0;
}

size_t mp_setup_host_bytes(mp_setup *s, const mp_matrix_row *row) {
    size_t most = 0;
    if (row->file || !s->run.subject) return 0;
    for (size_t i = 0; i <= row->pair_count + row->after_count; i++) {
        const mp_case *c = i == 0                 ? &row->c
                           : i <= row->pair_count ? &row->pairs[i - 1]
                                                  : &row->afters[i - 1 - row->pair_count];
        const size_t bytes = host_bytes_of(s->run.subject, c);
        if (bytes > most) most = bytes;
    }
    const size_t other = s->run.against ? host_bytes_of(s->run.against, &row->c) : 0;
    const bool offloads = mp_engine_choose(&s->engine, &s->options->settings, s->run.subject, &row->c);
    return (other > most ? other : most) + (offloads ? MP_OFFLOAD_HOST_BYTES : 0);
}

/* A recording takes the run of the case. */
typedef struct recorder {
    mp_setup *s;
    const mp_case *c;
    mp_status status;
    mp_error *err;
} recorder;

static void record(void *ctx, const mp_offer *offer, const mp_inputs *in, const mp_trace *trace) {
    recorder *r = ctx;
    const mp_record_options *options = r->s->options->record;
    mp_progress("", "record");
    r->status = options->keep ? mp_part_write(options, &r->s->who, r->c, offer, in, trace, r->err)
                              : mp_record_case(r->s->recording, r->c, offer, in, trace, r->err);
}

mp_status mp_setup_judge(mp_setup *s, const mp_matrix_row *row, mp_verdict *v, mp_error *err) {
    recorder r = {s, &row->c, MP_OK, err};
    s->run.keep = s->options->record ? record : NULL;
    s->run.keep_ctx = &r;
    s->run.offload = mp_engine_choose(&s->engine, &s->options->settings, s->run.subject, &row->c);
    mp_run_case(row, &s->run, v);
    return r.status;
}

mp_status mp_setup_commit(mp_setup *s, mp_error *err) {
    mp_golden *recording = s->recording;
    s->recording = NULL;
    return s->options->record->keep ? mp_parts_assemble(s->options->record, err)
                                    : mp_golden_commit(recording, err);
}

static void close_subject(mp_subject *s) {
    mp_copies_close(s->copies);
    mp_subject_close(s);
}

void mp_setup_close(mp_setup *s) {
    mp_engine_choice_end(&s->engine);
    mp_kept_free(&s->weights);
    mp_golden_close(s->recording);
    mp_golden_close(s->golden);
    close_subject(&s->against);
    close_subject(&s->subject);
    mp_text_free(&s->files);
}
