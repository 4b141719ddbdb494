/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/run/parts.h"

#include "base/file.h"
#include "golden/files.h"
#include "harness/run/repro.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER ".part"
#define EXTENSION ".h5"
#define SETTINGS "settings"
enum { DIGITS = 16 };

/* ---- the folder ---- */

char *mp_part_path(const char *path, const char *case_text) {
    char *file = NULL;
    const int length = case_text ? asprintf(&file, "%s" FOLDER "/%0*" PRIx64 EXTENSION, path, DIGITS,
                                            mp_digest(case_text, strlen(case_text)))
                                 : asprintf(&file, "%s" FOLDER, path);
    return length < 0 ? NULL : file;
}

bool mp_part_exists(const char *path, const char *case_text) {
    char *file = mp_part_path(path, case_text);
    const bool exists = file && access(file, F_OK) == 0;
    free(file);
    return exists;
}

/* The file in the folder that tells how its cases were judged. */
static char *settings_path(const char *path) {
    char *file = NULL;
    return asprintf(&file, "%s" FOLDER "/" SETTINGS, path) < 0 ? NULL : file;
}

/* A part, or what is left of one that was being written. */
static bool is_part(const char *name, bool whole) {
    const size_t digits = strspn(name, "0123456789abcdef");
    return digits == DIGITS && (whole ? strcmp(name + digits, EXTENSION) == 0
                                      : strncmp(name + digits, EXTENSION, strlen(EXTENSION)) == 0);
}

static void for_each(const char *path, bool whole, void (*visit)(void *ctx, const char *file), void *ctx) {
    char *folder = mp_part_path(path, NULL);
    DIR *dir = folder ? opendir(folder) : NULL;
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        char *file = NULL;
        if (!is_part(entry->d_name, whole) || asprintf(&file, "%s/%s", folder, entry->d_name) < 0) continue;
        visit(ctx, file);
        free(file);
    }
    if (dir) closedir(dir);
    free(folder);
}

static void count_one(void *ctx, const char *file) {
    (void)file;
    *(size_t *)ctx += 1;
}

static void remove_one(void *ctx, const char *file) {
    (void)ctx;
    unlink(file);
}

size_t mp_parts_count(const char *path) {
    size_t count = 0;
    for_each(path, true, count_one, &count);
    return count;
}

void mp_parts_remove(const char *path) {
    char *folder = mp_part_path(path, NULL), *settings = settings_path(path);
    for_each(path, false, remove_one, NULL);
    if (settings) unlink(settings);
    if (folder) rmdir(folder);
    free(settings);
    free(folder);
}

/* A text of settings, for a message. */
static const char *named(const char *settings) {
    return *settings ? settings : "the usual settings";
}

static mp_status same_settings(const char *file, const char *folder, const char *now, mp_error *err) {
    char *then = NULL;
    size_t size = 0;
    mp_status status = mp_file_read(file, &then, &size, err);
    if (status == MP_OK && strcmp(then, now) != 0)
        status = mp_fail(err, MP_EINPUT,
                         "%s: its cases were judged with %s, those of this recording are with %s: say the "
                         "same again; without the folder the recording begins anew",
                         folder, named(then), named(now));
    free(then);
    return status;
}

static mp_status make_folder(const char *folder, mp_error *err) {
    struct stat is;
    if (mkdir(folder, 0777) == 0) return MP_OK;
    const int why = errno;
    if (why == EEXIST && stat(folder, &is) == 0 && S_ISDIR(is.st_mode)) return MP_OK;
    return mp_fail(err, MP_EIO, "%s: %s; expected a folder for cases that are recorded", folder,
                   strerror(why));
}

/* Whether the folder of that name is the open one, and not another that was made after it was removed. */
static bool is_still(int open, const char *folder) {
    struct stat held, named;
    return fstat(open, &held) == 0 && stat(folder, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

mp_status mp_parts_hold(const char *path, int *held, mp_error *err) {
    char *folder = mp_part_path(path, NULL);
    mp_status status = folder ? make_folder(folder, err) : mp_fail(err, MP_EMEMORY, "no memory for a path");
    if (status == MP_OK && (*held = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        status = mp_fail(err, MP_EIO, "%s: %s; expected a folder for cases that are recorded", folder,
                         strerror(errno));
    /* A file system without locks is no reason not to record. */
    if (status == MP_OK && flock(*held, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        close(*held);
        *held = -1;
        status = mp_fail(err, MP_EINPUT,
                         "%s: another recording of %s is under way: expected one at a time, wait for its end "
                         "or name another file",
                         folder, path);
    }
    free(folder);
    return status;
}

void mp_parts_release(const char *path, int held) {
    char *folder = mp_part_path(path, NULL);
    if (held < 0) return free(folder);
    if (folder && is_still(held, folder) && mp_parts_count(path) == 0) mp_parts_remove(path);
    close(held);
    free(folder);
}

mp_status mp_parts_begin(const char *path, const mp_settings *settings, mp_error *err) {
    mp_settings judging = *settings;
    mp_text text = {0};
    char *folder = mp_part_path(path, NULL), *file = settings_path(path);
    judging.device = judging.triton = judging.config = NULL;
    judging.timeout = 0;
    mp_settings_text(&judging, &text);
    const char *now = mp_text_get(&text) + (text.length > 0); /* a blank */
    mp_status status =
        folder && file ? mp_file_writable(path, err) : mp_fail(err, MP_EMEMORY, "no memory for a path");
    if (status == MP_OK) status = make_folder(folder, err);
    if (status == MP_OK)
        status = mp_parts_count(path) > 0 ? same_settings(file, folder, now, err)
                                          : mp_file_replace(file, now, strlen(now), err);
    mp_text_free(&text);
    free(file);
    free(folder);
    return status;
}

/* ---- one part ---- */

static mp_status write_to(const char *file, const mp_record_options *options, const mp_provenance *who,
                          const mp_case *c, const mp_offer *offer, const mp_inputs *in, const mp_trace *trace,
                          mp_error *err) {
    mp_golden *part;
    mp_status status = mp_golden_create(file, who, options->digest_above, &part, err);
    if (status != MP_OK) return status;
    if (options->inputs) mp_golden_store_inputs(part);
    status = mp_record_case(part, c, offer, in, trace, err);
    if (status == MP_OK) return mp_golden_commit(part, err);
    mp_golden_close(part);
    return status;
}

mp_status mp_part_write(const mp_record_options *options, const mp_provenance *who, const mp_case *c,
                        const mp_offer *offer, const mp_inputs *in, const mp_trace *trace, mp_error *err) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    char *file = mp_part_path(options->path, name);
    const mp_status status = file ? write_to(file, options, who, c, offer, in, trace, err)
                                  : mp_fail(err, MP_EMEMORY, "no memory for a path");
    free(file);
    return status;
}

/* Opens a part that is there; *part is NULL where it is not. */
static mp_status open_part(const mp_record_options *options, const char *name, mp_golden **part,
                           mp_error *err) {
    char *file = mp_part_path(options->path, name);
    mp_status status = file ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for a path");
    *part = NULL;
    if (status == MP_OK && access(file, F_OK) == 0) status = mp_golden_open(file, part, err);
    if (status == MP_OK && *part && (mp_golden_count(*part) != 1 || !mp_golden_find(*part, name)))
        status = mp_fail(err, MP_EINPUT, "%s does not hold the one case '%s'", file, name);
    free(file);
    return status;
}

/* ---- whether parts belong to this recording ---- */

#define OR_ANEW "; --allow-mixed takes it all the same, and without the folder the recording begins anew"

static mp_status refuse(const char *what, const char *was, const char *is, mp_error *err) {
    return mp_fail(err, MP_EINPUT, "%s is '%s', that of this recording '%s'" OR_ANEW, what, was, is);
}

static mp_status check_maker(const mp_provenance *was, const mp_provenance *is, mp_error *err) {
    const struct {
        const char *name, *was, *is;
    } fields[] = {{"version", was->version, is->version},    {"commit", was->commit, is->commit},
                  {"subject", was->subject, is->subject},    {"device", was->device, is->device},
                  {"versions", was->versions, is->versions}, {"origin", was->origin, is->origin}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(fields[i].was, fields[i].is) != 0)
            return refuse(fields[i].name, fields[i].was, fields[i].is, err);
    return MP_OK;
}

static mp_status check_offer(const mp_golden_entry *entry, mp_subject *subject, const char *words,
                             mp_error *err) {
    mp_offer offer;
    char config[MP_RECORD_CONFIG_MAX], contract[MP_CONTRACT_TEXT_MAX];
    const mp_status status = mp_subject_describe_as(subject, &entry->c, words, &offer, err);
    if (status != MP_OK) return status;
    mp_contract_text(&offer.contract, contract, sizeof contract);
    mp_record_config(&offer, config);
    if (!mp_golden_same_contract(entry, &offer.contract))
        return refuse("the contract", entry->contract, contract, err);
    return strcmp(entry->config, config) == 0 ? MP_OK : refuse("the config", entry->config, config, err);
}

/* What is stored of a case follows from the options. */
static mp_status check_storage(const mp_record_options *options, mp_golden *part,
                               const mp_golden_entry *entry, mp_error *err) {
    bool inputs = false;
    for (int id = 0; id < MP_TENSOR_COUNT; id++) {
        mp_golden_look look, input;
        mp_status status = mp_golden_look_at(part, entry, false, (mp_tensor_id)id, &look, err);
        if (status == MP_OK) status = mp_golden_look_at(part, entry, true, (mp_tensor_id)id, &input, err);
        if (status != MP_OK) return status;
        inputs = inputs || input.there;
        if (look.there && look.digest != (mp_tensor_bytes(&look.shape) > options->digest_above))
            return mp_fail(err, MP_EINPUT, "%s was stored by another --digest-above: say the one of then",
                           mp_tensor_name((mp_tensor_id)id));
    }
    if (inputs == options->inputs) return MP_OK;
    return mp_fail(err, MP_EINPUT, "recorded %s --inputs: say the same again", inputs ? "with" : "without");
}

static mp_status check_part(const mp_record_options *options, const mp_provenance *who, mp_subject *subject,
                            const char *words, const char *name, mp_golden *part, mp_error *err) {
    const mp_golden_entry *entry = mp_golden_find(part, name);
    mp_status status = mp_golden_check(part, err);
    if (status != MP_OK) return status;
    if (mp_golden_fill_version(part) != MP_FILL_VERSION)
        status = mp_fail(err, MP_EINPUT,
                         "made with fill version %d, this program fills with version %d: remove it",
                         mp_golden_fill_version(part), MP_FILL_VERSION);
    if (status == MP_OK) status = check_storage(options, part, entry, err);
    if (status == MP_OK && !options->mixed) status = check_maker(entry->who, who, err);
    if (status == MP_OK && !options->mixed) status = check_offer(entry, subject, words, err);
    if (status != MP_OK) mp_error_prefix(err, "%s: %s", mp_golden_path(part), name);
    return status;
}

mp_status mp_parts_check(const mp_record_options *options, const mp_provenance *who, mp_subject *subject,
                         const char *words, mp_error *err) {
    mp_status status = MP_OK;
    for (size_t i = 0; i < options->case_count && status == MP_OK; i++) {
        mp_golden *part;
        status = open_part(options, options->cases[i], &part, err);
        if (status == MP_OK && part)
            status = check_part(options, who, subject, words, options->cases[i], part, err);
        mp_golden_close(part);
    }
    return status;
}

/* ---- the whole ---- */

/* Who made all of them: read from each part, for those of before may be others. */
static mp_status makers(const mp_record_options *options, mp_provenance *who, mp_error *err) {
    mp_provenance *makers = malloc((options->case_count + 1) * sizeof *makers);
    const mp_provenance **list = malloc((options->case_count + 1) * sizeof *list);
    mp_status status = makers && list ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for the makers of cases");
    for (size_t i = 0; i < options->case_count && status == MP_OK; i++) {
        mp_golden *part;
        status = open_part(options, options->cases[i], &part, err);
        if (status == MP_OK && !part)
            status = mp_fail(err, MP_EIO, "the part of '%s' is gone", options->cases[i]);
        if (status == MP_OK) makers[i] = *mp_golden_find(part, options->cases[i])->who;
        list[i] = &makers[i];
        mp_golden_close(part);
    }
    if (status == MP_OK && options->case_count > 0) *who = mp_common_provenance(list, options->case_count);
    free(list);
    free(makers);
    return status;
}

mp_status mp_parts_assemble(const mp_record_options *options, mp_error *err) {
    mp_golden *whole = NULL;
    mp_provenance who = {0};
    mp_status status = makers(options, &who, err);
    if (status == MP_OK) status = mp_golden_create(options->path, &who, options->digest_above, &whole, err);
    for (size_t i = 0; i < options->case_count && status == MP_OK; i++) {
        mp_golden *part;
        status = open_part(options, options->cases[i], &part, err);
        if (status == MP_OK && !part)
            status = mp_fail(err, MP_EIO, "the part of '%s' is gone", options->cases[i]);
        if (status == MP_OK)
            status = mp_golden_copy_case(whole, part, mp_golden_find(part, options->cases[i]), err);
        mp_golden_close(part);
    }
    if (status == MP_OK)
        status = mp_golden_commit(whole, err);
    else
        mp_golden_close(whole);
    if (status == MP_OK) mp_parts_remove(options->path);
    return status;
}
