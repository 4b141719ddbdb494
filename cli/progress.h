/* SPDX-License-Identifier: Apache-2.0 */
/* What a command says while it runs: a status line on stderr where that is a terminal, and rows on stdout. */
#ifndef MP_CLI_PROGRESS_H
#define MP_CLI_PROGRESS_H

#include "cli/args.h"
#include "moeparity/suite.h"
#include "reports/report.h"

/* One line on stderr that is written over; nothing where stderr is no terminal. */
typedef struct mp_status_line {
    bool terminal, shown;
} mp_status_line;
mp_status_line mp_status_line_open(void);
/* As much of the text as the terminal is wide. */
void mp_status_line_show(mp_status_line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mp_status_line_clear(mp_status_line *line);

/* The progress of a suite, or of a recording. */
typedef struct mp_progress {
    const mp_matrix *matrix;
    const mp_suite_options *suite;
    const mp_run_info *info; /* says which subject "auto" came to */
    mp_row_style style;
    mp_status_line line;
    bool quiet;
    uint64_t skipped;     /* the digest of the last reason for which a row was skipped; 0: none was */
    size_t done, running; /* rows finished; the one handed out last */
    double start;
} mp_progress;

/* matrix, suite and info must outlive it; the options -q, -v and --color count as far as the command has
 * them. */
mp_progress mp_progress_begin(const mp_args *args, const mp_matrix *matrix, const mp_suite_options *suite,
                              const mp_run_info *info);
/* The callbacks of mp_suite_options: ctx is the mp_progress. */
void mp_progress_case(void *ctx, size_t index, const mp_verdict *v);
void mp_progress_phase(void *ctx, size_t index, const char *what, double seconds);

#endif
