/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/repro_files.h"

#include "base/file.h"
#include "files/export.h"
#include "harness/run/leave.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mp_status mp_repro_files_plan(const char *path, mp_repro_files *files, mp_error *err) {
    enum { ROOM = 16 };
    mp_export_format format;
    struct stat there;
    const bool named = mp_export_format_of_path(path, &format);
    *files = (mp_repro_files){0};
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (strlen(path) > PATH_MAX - ROOM) return mp_fail(err, MP_EIO, "%.100s...: the path is too long", path);
    if (named && format != MP_EXPORT_NPZ && format != MP_EXPORT_H5)
        return mp_fail(err, MP_EINPUT, "%s: expected a name that ends in .npz or .h5, or a folder", path);
    if (named && !(stat(path, &there) == 0 && S_ISDIR(there.st_mode))) {
        snprintf(files->data, sizeof files->data, "%s", path);
        snprintf(files->program, sizeof files->program, "%.*s.py", (int)(dot - path), path);
    } else {
        if (dot && dot > (slash ? slash : path) && !(stat(path, &there) == 0 && S_ISDIR(there.st_mode)))
            return mp_fail(err, MP_EINPUT, "%s: expected a name that ends in .npz or .h5, or a folder", path);
        if (stat(path, &there) != 0) snprintf(files->made, sizeof files->made, "%s", path);
        const mp_status made = mp_file_make_directories(path, err);
        if (made != MP_OK) return made;
        snprintf(files->data, sizeof files->data, "%s/repro.npz", path);
        snprintf(files->program, sizeof files->program, "%s/repro.py", path);
    }
    const mp_status status = mp_file_writable(files->data, err);
    return status == MP_OK ? mp_file_writable(files->program, err) : status;
}

/* The file of the numbers: with what the subject leaves, or else, where it does not survive, without. */
static mp_status write_data(const mp_repro_files *files, const mp_matrix *rows, const mp_suite_options *how,
                            const mp_signature *signature, mp_error *err) {
    mp_leave_options options = {.path = files->data, .stage = signature->stage};
    const mp_matrix alone = {.rows = &rows->rows[rows->count - 1], .count = 1};
    mp_suite_options o = *how;
    mp_error why = {0};
    if (signature->outcome == MP_FAIL && mp_leave_run(rows, &o, &options, &why) == MP_OK) return MP_OK;
    options.expected_only = true;
    o.settings.subject = "ref"; /* in its place */
    o.settings.device = o.settings.triton = o.settings.config = o.settings.against = NULL;
    return mp_leave_run(&alone, &o, &options, err);
}

mp_status mp_repro_files_write(const mp_repro_files *files, const mp_matrix *rows,
                               const mp_suite_options *how, const mp_verdict *v, const char *line,
                               mp_error *err) {
    mp_signature signature;
    mp_text program = {0};
    const char *slash = strrchr(files->data, '/');
    mp_signature_of(v, &signature);
    mp_status status = write_data(files, rows, how, &signature, err);
    if (status == MP_OK) {
        mp_repro_program(&rows->rows[rows->count - 1].c, v, line, slash ? slash + 1 : files->data, &program);
        status = mp_file_replace(files->program, mp_text_get(&program), program.length, err);
    }
    mp_text_free(&program);
    return status;
}

void mp_repro_files_drop(const mp_repro_files *files) {
    if (files->made[0]) rmdir(files->made); /* it is empty, or stays */
}
