/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include "base/clock.h"
#include "harness/run/in_process.h"
#include "harness/run/repro.h"
#include "moeparity/tensor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Columns of the terminal; 80 where it does not say. 0: no terminal. */
static int terminal_columns(int fd) {
    struct winsize size;
    if (!isatty(fd)) return 0;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

mp_status_line mp_status_line_open(void) {
    return (mp_status_line){.terminal = isatty(STDERR_FILENO) != 0};
}

void mp_status_line_show(mp_status_line *line, const char *format, ...) {
    const int columns = terminal_columns(STDERR_FILENO);
    mp_text text = {0};
    va_list args;
    if (!line->terminal) return;
    va_start(args, format);
    mp_text_vadd(&text, format, args);
    va_end(args);
    fprintf(stderr, "\r\033[K%.*s", columns > 1 ? columns - 1 : 1, mp_text_get(&text));
    fflush(stderr);
    mp_text_free(&text);
    line->shown = true;
}

void mp_status_line_clear(mp_status_line *line) {
    if (line->shown) fprintf(stderr, "\r\033[K");
    line->shown = false;
}

/* --color; else what FORCE_COLOR and NO_COLOR say (no-color.org); else on a terminal that can. */
static bool colors_wanted(const mp_args *args) {
    const char *when = mp_args_text(args, MP_OPT_COLOR), *none = getenv("NO_COLOR"),
               *force = getenv("FORCE_COLOR"), *terminal = getenv("TERM");
    if (strcmp(when, "auto") != 0) return strcmp(when, "always") == 0;
    if (none && *none) return false;
    if (force && *force) return strcmp(force, "0") != 0;
    return isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0;
}

static int widest_name(const mp_matrix *matrix) {
    size_t widest = 0;
    char name[MP_CASE_TEXT_MAX];
    for (size_t i = 0; i < matrix->count; i++) {
        const size_t length = mp_case_text(&matrix->rows[i].c, name, sizeof name);
        if (length > widest) widest = length;
    }
    return widest < 60 ? (int)widest : 60;
}

mp_progress mp_progress_begin(const mp_args *args, const mp_matrix *matrix, const mp_suite_options *suite,
                              const mp_run_info *info) {
    return (mp_progress){.matrix = matrix,
                         .suite = suite,
                         .info = info,
                         .style = {.name_width = widest_name(matrix),
                                   .columns = terminal_columns(STDOUT_FILENO),
                                   .color = colors_wanted(args),
                                   .verbose = mp_args_given(args, MP_OPT_VERBOSE)},
                         .line = mp_status_line_open(),
                         .quiet = mp_args_given(args, MP_OPT_QUIET),
                         .start = mp_seconds_now()};
}

/* How to run the case again, said before it runs: of a process that dies of it nothing else is left. */
static void announce(const mp_progress *p, size_t index) {
    mp_settings settings = p->suite->settings;
    if (p->info->subject[0]) settings.subject = p->info->subject;
    mp_text repro = {0};
    const mp_matrix_row *before = index > 0 ? &p->matrix->rows[index - 1] : NULL;
    mp_repro(&p->matrix->rows[index], &before, before ? 1 : 0, &settings, &repro);
    fprintf(stderr, "case %zu/%zu: %s\n", index + 1, p->matrix->count, mp_text_get(&repro));
    fflush(stderr);
    mp_text_free(&repro);
}

/* "[3/20] M=32 topk=2 ... act=silu  down 4 s  12 s left": the name gives way to the rest. */
static void show_running(mp_progress *p, const char *phase) {
    enum { LEAST_NAME = 12 };
    char name[MP_CASE_TEXT_MAX], head[48], tail[48] = "";
    mp_text text = {0};
    const double elapsed = mp_seconds_now() - p->start;
    if (p->done > 0)
        snprintf(tail, sizeof tail, "  %.0f s left",
                 elapsed / (double)p->done * (double)(p->matrix->count - p->done));
    snprintf(head, sizeof head, "[%zu/%zu] ", p->done, p->matrix->count);
    mp_case_text(&p->matrix->rows[p->running].c, name, sizeof name);
    const int room = terminal_columns(STDERR_FILENO) - 1 - (int)(strlen(head) + strlen(phase) + strlen(tail));
    mp_report_shorten(&text, name, room > LEAST_NAME ? (size_t)room : LEAST_NAME);
    mp_status_line_show(&p->line, "%s%s%s%s", head, mp_text_get(&text), phase, tail);
    mp_text_free(&text);
}

/* Rows that are skipped for the reason of the one before are in the summary's count, and with -v here. */
static bool is_told(mp_progress *p, const mp_verdict *v) {
    if (v->outcome != MP_SKIP) return !p->quiet || v->outcome != MP_PASS;
    const uint64_t reason = mp_digest(v->reason, strlen(v->reason)) | 1;
    const bool again = p->skipped == reason && !p->style.verbose;
    p->skipped = reason;
    return !p->quiet && !again;
}

/* A worker's crash is told by this process, with the repro; where there is no worker, the repro comes first.
 */
void mp_progress_case(void *ctx, size_t index, const mp_verdict *v) {
    mp_progress *p = ctx;
    mp_status_line_clear(&p->line);
    if (v) {
        p->done++;
        if (is_told(p, v)) {
            mp_report_row(stdout, v, &p->style);
            fflush(stdout);
        }
    }
    if (!v && !p->line.terminal && p->suite->in_process) announce(p, index);
    if (!v) p->running = index;
    if (p->line.terminal && p->done < p->matrix->count) show_running(p, "");
}

void mp_progress_phase(void *ctx, size_t index, const char *what, double seconds) {
    enum { WORTH_SAYING = 2 };
    mp_progress *p = ctx;
    char phase[64];
    if (!p->line.terminal || seconds < WORTH_SAYING) return;
    if (index == MP_NO_CASE) {
        mp_status_line_show(&p->line, "starting: %.40s %.0f s", what, seconds);
        return;
    }
    p->running = index;
    snprintf(phase, sizeof phase, "  %.40s %.0f s", what, seconds);
    show_running(p, phase);
}
