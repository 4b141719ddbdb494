/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of offload/device/ on the host, for the device of tests/fake_cuda.h: operands are decoded, and
 * the steps of the pipeline made, by the same headers, the sums are written down once more. */
#include "offload/device/balls.h"
#include "offload/device/confirm.h"
#include "offload/device/confirm_act.h"
#include "offload/device/confirm_combine.h"
#include "offload/device/confirm_quant.h"
#include "offload/device/params.h"
#include "offload/device/screen.h"
#include "offload/device/screen_act.h"
#include "offload/device/screen_combine.h"
#include "offload/device/screen_quant.h"
#include "offload/device/steps.h"
#include "tests/fake_cuda.h"

#include <math.h>
#include <string.h>

static void decode(const mp_decode_params *p) {
    const long long *rows = fake_memory(p->rows);
    double *to = fake_memory(p->to);
    for (long long i = 0; i < p->count; i++) {
        const mp_device_row row = mp_device_row_of(&p->operand, rows ? rows[i] : p->first + i);
        for (long long k = 0; k < p->padded; k++)
            to[i * p->padded + k] = k < p->operand.length ? mp_device_operand_at(&p->operand, &row, k) : 0;
    }
}

typedef enum what { VALUES, VALUES_AND_MASSES, ABSOLUTE, SQUARES } what;

static void gemm(what w, const mp_gemm64_params *p) {
    const mp_row_tile *tile = fake_memory(p->tiles);
    double *value = fake_memory(p->value), *mass = fake_memory(p->mass);
    for (long long t = 0; t < p->tile_count; t++)
        for (long long r = 0; r < tile[t].count; r++)
            for (long long n = 0; n < p->n; n++) {
                const long long row = tile[t].row - tile[0].row + r,
                                column = (tile[t].matrix - tile[0].matrix) * p->n + n;
                const double *a = (double *)fake_memory(p->a) + row * p->padded,
                             *b = (double *)fake_memory(p->w) + column * p->padded;
                double sum = 0, magnitudes = 0;
                for (long long k = 0; k < p->padded; k++) {
                    const double term = a[k] * b[k];
                    sum += w == SQUARES ? term * term : w == ABSOLUTE ? fabs(term) : term;
                    magnitudes += fabs(term);
                }
                value[row * p->n + n] = sum;
                if (w == VALUES_AND_MASSES) mass[row * p->n + n] = magnitudes;
            }
}

/* ---- steps.cu ---- */

static void epilogue(const mp_epilogue64_params *p) {
    const double *sums = fake_memory(p->sums);
    for (long long i = 0; i < p->rows * p->n; i++)
        mp_epilogue64_at(p, fake_memory(p->slots), fake_memory(p->topk_ids), fake_memory(p->weights),
                         fake_memory(p->bias), sums[i], i / p->n, i % p->n, fake_memory(p->to));
}

static void activate(const mp_act64_params *p) {
    double *to = fake_memory(p->to);
    for (long long i = 0; i < p->slots * p->N; i++)
        to[i] = mp_act64_element(p, fake_memory(p->from), i / p->N, i % p->N);
}

static void measure_tokens(const mp_output64_params *p) {
    mp_token_figures *figures = fake_memory(p->figures);
    const long long width = mp_output64_width(p);
    for (long long token = 0; token < p->tokens; token++) {
        figures[token] = (mp_token_figures){0};
        for (long long i = 0; i < width; i++)
            mp_token_figures_add(
                &figures[token],
                mp_number_at(&p->stored_format, fake_memory(p->stored), (p->first + token) * width + i),
                mp_output64_at(p, fake_memory(p->rows), fake_memory(p->topk_ids), fake_memory(p->weights),
                               fake_memory(p->shared), token, i));
    }
}

/* ---- balls.cu ---- */

static void quantise_balls(const mp_quant_balls_params *p) {
    const int *ids = fake_memory(p->topk_ids);
    const void *x = fake_memory(p->x);
    const mp_quant_group *group = fake_memory(p->groups);
    const long long groups = mp_groups_of_row(p);
    double *reach = fake_memory(p->reach);
    for (long long at = 0; at < p->rows * groups; at++) {
        const long long first = at / groups * p->to.width + at % groups * p->group,
                        rest = p->to.width - at % groups * p->group, n = rest < p->group ? rest : p->group;
        mp_group_look look = {0};
        for (long long i = first; i < first + n; i++)
            mp_group_look_add(&look, &p->rule, mp_ball_to_quantise(p, x, i));
        for (long long i = first; i < first + n; i++)
            if (mp_row_is_read(p, ids, at / groups))
                reach[at / groups] =
                    mp_larger(mp_quantise_ball_at(p, group[at], &look, mp_ball_to_quantise(p, x, i), i),
                              reach[at / groups]);
            else
                mp_ball_write(&p->to, i, (mp_ball){0});
    }
}

static void sum_balls(const mp_sum_balls_params *p) {
    for (long long i = 0; i < p->rows * p->n; i++)
        mp_sum_ball_at(p, fake_memory(p->sums), fake_memory(p->slots), fake_memory(p->topk_ids),
                       fake_memory(p->weights), fake_memory(p->bias), fake_memory(p->rules), i);
}

static void activate_balls(const mp_act_balls_params *p) {
    for (long long i = 0; i < p->slots * p->to.width; i++) mp_act_ball_at(p, i);
}

static void bound_tokens(const mp_output_balls_params *p) {
    for (long long token = 0; token < p->tokens; token++) {
        mp_token_figures *figures = (mp_token_figures *)fake_memory(p->figures) + token;
        mp_bound_figures *bounds = (mp_bound_figures *)fake_memory(p->bounds) + token;
        *figures = (mp_token_figures){0};
        *bounds = mp_no_bound_figures();
        for (long long i = 0; i < mp_output_balls_width(p); i++)
            mp_output_ball_at(p, fake_memory(p->topk_ids), fake_memory(p->weights), fake_memory(p->shared),
                              fake_memory(p->stored), token, i, figures, bounds);
    }
}

/* ---- screen.cu ---- */

static void screen_gemm(const mp_screen_params *p) {
    for (long long i = 0; i < p->rows.count; i++) {
        mp_row_figures *f = (mp_row_figures *)fake_memory(p->figures) + i;
        mp_row_figures_start(f);
        for (long long j = 0; j < p->n; j++) mp_screen_element(p, p->rule.block > 0, i, j, f);
    }
}

static void screen_act(const mp_screen_act_params *p) {
    const int *ids = fake_memory(p->rows.topk_ids);
    const long long *row = fake_memory(p->rows.row);
    for (long long t = 0; t < p->rows.slots; t++) {
        mp_row_figures *f = (mp_row_figures *)fake_memory(p->figures) + t;
        mp_row_figures_start(f);
        for (long long n = 0; n < p->rows.N && ids[t] >= 0; n++) mp_screen_act_element(p, row[t], n, f);
    }
}

static void screen_combine(const mp_screen_combine_params *p) {
    for (long long m = 0; m < p->rows.tokens; m++) {
        mp_row_figures *f = (mp_row_figures *)fake_memory(p->figures) + m;
        mp_row_figures_start(f);
        for (long long k = 0; k < p->rows.K; k++) mp_screen_combine_element(p, m, k, f);
    }
}

/* ---- screen_quant.cu ---- */

static void see_groups(const mp_see_groups_params *p) {
    const mp_quant_rows *r = &p->rows;
    const long long *row = fake_memory(r->row);
    mp_quant_seen *seen = fake_memory(p->seen);
    for (long long i = 0; i < r->count; i++)
        for (long long k = 0; k < r->width && row[i] >= 0; k++) {
            mp_quant_seen *to = &seen[i * r->groups + k / r->group];
            if (k % r->group == 0) *to = (mp_quant_seen){0};
            mp_see_number(to, mp_quantised_at(r, row[i] * r->width + k));
        }
}

static void screen_quant(const mp_screen_quant_params *p) {
    const long long *row = fake_memory(p->rows.row);
    for (long long i = 0; i < p->rows.count; i++) {
        mp_quant_figures *f = (mp_quant_figures *)fake_memory(p->figures) + i;
        mp_row_figures_start(&f->row);
        f->saturated = 0;
        for (long long k = 0; k < p->rows.width && row[i] >= 0; k++) mp_screen_quant_element(p, i, k, f);
    }
}

/* ---- confirm_act.cu, confirm_combine.cu ---- */

static void confirm_act(const mp_confirm_act_params *p) {
    const int *ids = fake_memory(p->rows.topk_ids);
    const long long *row = fake_memory(p->rows.row);
    for (long long t = 0; t < p->rows.slots; t++) {
        mp_confirmed_row *to = (mp_confirmed_row *)fake_memory(p->confirmed) + t;
        *to = (mp_confirmed_row){0};
        for (long long n = 0; n < p->rows.N && ids[t] >= 0; n++) mp_confirm_act_element(p, row[t], n, to);
    }
}

static void confirm_combine(const mp_confirm_combine_params *p) {
    for (long long m = 0; m < p->rows.tokens; m++) {
        mp_confirmed_row *to = (mp_confirmed_row *)fake_memory(p->confirmed) + m;
        *to = (mp_confirmed_row){0};
        for (long long k = 0; k < p->rows.K; k++) mp_confirm_combine_element(p, m, k, to);
    }
}

static void confirm_quant(const mp_confirm_quant_params *p) {
    const long long *row = fake_memory(p->rows.row);
    for (long long i = 0; i < p->rows.count; i++) {
        mp_confirmed_row *to = (mp_confirmed_row *)fake_memory(p->confirmed) + i;
        *to = (mp_confirmed_row){0};
        for (long long k = 0; k < p->rows.width && row[i] >= 0; k++) mp_confirm_quant_element(p, i, k, to);
    }
}

static void execute(const char *entry, const void *params) {
    static const char *const sums[] = {"gemm_values", "gemm_values_and_masses", "gemm_absolute",
                                       "gemm_squares"};
    if (strcmp(entry, "decode") == 0) decode(params);
    if (strcmp(entry, "epilogue") == 0) epilogue(params);
    if (strcmp(entry, "activate") == 0) activate(params);
    if (strcmp(entry, "measure_tokens") == 0) measure_tokens(params);
    if (strcmp(entry, "quantise_balls") == 0) quantise_balls(params);
    if (strcmp(entry, "sum_balls") == 0) sum_balls(params);
    if (strcmp(entry, "activate_balls") == 0) activate_balls(params);
    if (strcmp(entry, "bound_tokens") == 0) bound_tokens(params);
    if (strcmp(entry, "screen_gemm") == 0) screen_gemm(params);
    if (strcmp(entry, "screen_act") == 0) screen_act(params);
    if (strcmp(entry, "screen_combine") == 0) screen_combine(params);
    if (strcmp(entry, "see_groups") == 0) see_groups(params);
    if (strcmp(entry, "screen_quant") == 0) screen_quant(params);
    if (strcmp(entry, "confirm_act") == 0) confirm_act(params);
    if (strcmp(entry, "confirm_quant") == 0) confirm_quant(params);
    if (strcmp(entry, "confirm_combine") == 0) confirm_combine(params);
    for (int w = 0; w < 4; w++)
        if (strcmp(entry, sums[w]) == 0) gemm((what)w, params);
}

__attribute__((constructor)) static void take_kernels(void) {
    fake.execute = fake.right = execute;
}
