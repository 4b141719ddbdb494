/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bench_against.h"

#include "cases/figures.h"
#include "cases/graph_tables.h"
#include "cli/common.h"
#include "harness/subjects/rounds.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define GEMMS (1u << MP_GATE_UP | 1u << MP_DOWN)

/* How many times as fast the subject is: sums of logarithms over the cases. */
typedef struct mean {
    double gemms, all;
    int count;
} mean;

/* Of the operations in slots that go to an expert. */
static double tflops(const mp_case *c, int64_t routed, double ms) {
    return 2 * (double)routed * mp_case_products(c) / ms * 1e-9;
}

/* The second side is the one that is timed, the first one what it is timed against: a ratio of 1.2 is a time
 * a fifth longer, and 1/1.2 times as fast. */
static void print_row(const mp_case *c, int64_t routed, const mp_rounds *rounds, mean *m) {
    const mp_ratio gemms = mp_rounds_ratio(rounds, GEMMS), all = mp_rounds_ratio(rounds, MP_EVERY_STAGE);
    const double own = mp_rounds_ms(rounds, 1, GEMMS), other = mp_rounds_ms(rounds, 0, GEMMS);
    char text[MP_CASE_TEXT_MAX];
    mp_case_text(c, text, sizeof text);
    printf("%9.3f %8.1f   %9.3f %8.1f   %6.3f  %.3f .. %.3f   %6.3f  %.3f .. %.3f  %s\n", own,
           tflops(c, routed, own), other, tflops(c, routed, other), 1 / gemms.median, 1 / gemms.high,
           1 / gemms.low, 1 / all.median, 1 / all.high, 1 / all.low, text);
    m->gemms -= log(gemms.median);
    m->all -= log(all.median);
    m->count++;
}

static mp_status time_case(const mp_args *args, mp_subject subject[2], const mp_case *c, mean *m,
                           mp_error *err) {
    const mp_side side[2] = {{&subject[0], c}, {&subject[1], c}};
    mp_inputs in = {0};
    mp_rounds rounds = {0};
    mp_offer offer;
    mp_figures figures;
    /* What one of them will not run, and a file that is not there, need no gigabytes of weights. */
    mp_status status = mp_subject_describe(&subject[0], c, &offer, err);
    if (status == MP_OK) status = mp_subject_describe(&subject[1], c, &offer, err);
    if (status == MP_OK) status = mp_figures_of(c, &figures, err);
    if (status == MP_OK) status = mp_inputs_create(c, &in, err);
    if (status == MP_OK)
        status = mp_rounds_run(side, &in, (int)mp_args_number(args, MP_OPT_BENCH_ROUNDS), &rounds, err);
    if (status == MP_OK) print_row(c, figures.routed, &rounds, m);
    mp_rounds_free(&rounds);
    mp_inputs_destroy(&in);
    return status;
}

static mp_status open_side(const char *name, mp_subject *s, mp_error *err) {
    if (strncmp(name, "plugin:", 7) == 0)
        return mp_fail(err, MP_EINPUT, "%s is not timed: a plug-in is not loaded into this process", name);
    return mp_subject_open(name, s, err);
}

mp_status mp_bench_against(const mp_args *args, const mp_matrix *cases, mp_status_line *line, mp_error *err) {
    const char *name[2] = {mp_args_text(args, MP_OPT_BENCH_AGAINST),
                           mp_args_text(args, MP_OPT_BENCH_SUBJECT)};
    mp_subject subject[2] = {0};
    mean m = {0};
    mp_status status = MP_OK;
    for (size_t i = 0; i < cases->count && status == MP_OK; i++)
        if (cases->rows[i].c.scope != MP_SCOPE_ALL)
            status = mp_fail(err, MP_EINPUT, "scope=%s: expected scope=all, which has both GEMMs",
                             mp_scope_name(cases->rows[i].c.scope));
    if (status == MP_OK) status = open_side(name[1], &subject[1], err);
    if (status == MP_OK) subject[1].query = mp_cli_query(args);
    if (status == MP_OK) status = open_side(name[0], &subject[0], err);
    if (status == MP_OK) {
        mp_status_line_clear(line);
        for (int i = 1; i >= 0; i--)
            printf("%-8s %s%s%s\n", i ? "subject" : "against", name[i], subject[i].versions[0] ? ": " : "",
                   subject[i].versions);
        printf("%-20s   %-20s   %-24s   %s\n", "both GEMMs, subject", "against", "times as fast (95 %)",
               "all stages (95 %)");
        printf("%9s %8s   %9s %8s\n", "ms", "TFLOP/s", "ms", "TFLOP/s");
    }
    for (size_t i = 0; i < cases->count && status == MP_OK; i++) {
        const mp_case *c = &cases->rows[i].c;
        mp_error why = {0};
        mp_status_line_show(line, "%zu of %zu", i + 1, cases->count);
        status = time_case(args, subject, c, &m, &why);
        mp_status_line_clear(line);
        if (status == MP_EUNSUPPORTED) {
            char text[MP_CASE_TEXT_MAX];
            mp_case_text(c, text, sizeof text);
            printf("not timed: %s: %s\n", text, why.text);
            status = MP_OK;
        } else if (status != MP_OK && err) {
            *err = why;
        }
        fflush(stdout);
    }
    if (status == MP_OK && m.count > 1)
        printf("geometric mean of %d cases: GEMMs %.3f times as fast, all stages %.3f\n", m.count,
               exp(m.gemms / m.count), exp(m.all / m.count));
    mp_subject_close(&subject[0]);
    mp_subject_close(&subject[1]);
    return status == MP_OK && m.count == 0
               ? mp_fail(err, MP_EUNSUPPORTED, "none of %zu cases could be timed", cases->count)
               : status;
}
