/* SPDX-License-Identifier: Apache-2.0 */
/* A failure as files for somebody who has neither this program nor the subject: the numbers, and a few
 * lines of numpy that compute what is right from them and show what is wrong. */
#ifndef MP_HARNESS_REPRO_FILES_H
#define MP_HARNESS_REPRO_FILES_H

#include "base/text.h"
#include "harness/bisect/signature.h"
#include "moeparity/suite.h"

#include <limits.h>

typedef struct mp_repro_files {
    char data[PATH_MAX], program[PATH_MAX]; /* what is written */
    char made[PATH_MAX];                    /* the folder that was made for them; "": none */
} mp_repro_files;

/* Where they go: `path` ends in .npz or .h5 (and the program is beside it, in .py), or is a folder,
 * which is made, for repro.npz and repro.py. MP_EINPUT for another ending; MP_EIO where they could not be
 * written: asked before a search, not after it. */
mp_status mp_repro_files_plan(const char *path, mp_repro_files *files, mp_error *err);
/* Runs the rows once more, and writes both of the last one, whose verdict is v; `line` is the one
 * command that repeats it. Of a subject that did not survive, or does not this time, the file has no
 * outputs. */
mp_status mp_repro_files_write(const mp_repro_files *files, const mp_matrix *rows,
                               const mp_suite_options *how, const mp_verdict *v, const char *line,
                               mp_error *err);

/* Where nothing came to be written, the folder that was made for it goes again. */
void mp_repro_files_drop(const mp_repro_files *files);

/* The program alone, that reads a file of this name beside it. */
void mp_repro_program(const mp_case *c, const mp_verdict *v, const char *line, const char *data_name,
                      mp_text *text);

#endif
