/* SPDX-License-Identifier: Apache-2.0 */
/* What brackets leave open, step by step. */
#include "ref/predict/tensorcore_bracket_job.h"

#include "base/bits.h"

#include <string.h>

enum { COLUMNS = MP_TC_BRACKET_COLUMNS, REACH = MP_TC_IN_REACH };

typedef mp_tc_bracket_job job;

/* By pairs no number is small: then this is not called. */
static float definition(const job *j, const uint16_t *a, const uint16_t *w, int64_t first) {
    const int64_t codes = mp_tc_bracket_terms(&j->form) - first,
                  terms = mp_tc_bracket_part_terms(&j->form, first), count = terms < codes ? terms : codes;
    for (int64_t k = 0; k < count; k++) {
        j->s->a_code[k] = a[first + k];
        j->s->w_code[k] = w[first + k];
    }
    return mp_float_of_bits(mp_tc_dot(&j->form.step, count, j->s->a_code, j->s->w_code, 0));
}

/* Results whose steps are taken together: their places among those that are packed. */
typedef struct chosen {
    int count;
    int64_t row[MP_TC_PAIRS], column[MP_TC_PAIRS];
} chosen;

/* The dots of a part, terms from `first` on. Returns a bit for each that is certain. */
typedef uint64_t run_part(const job *j, const chosen *c, int64_t first, float dot[MP_TC_PAIRS]);

static void store(const job *j, const chosen *c, const int64_t *slot, float sum[MP_TC_PAIRS]) {
    uint16_t codes[MP_TC_PAIRS], *out = NULL;
    for (int i = 0; i < c->count; i++)
        mp_epilogue_row_f32(j->call->epilogue, j->task->expert, j->task->n0 + c->column[i], 1,
                            slot[c->row[i]], &sum[i]);
    mp_encode_row_f32(j->call->out->dtype, codes, 0, c->count, sum);
    for (int i = 0; i < c->count; i++) {
        if (i == 0 || c->row[i] != c->row[i - 1]) out = mp_tc_bracket_out(j, slot[c->row[i]]);
        out[c->column[i]] = codes[i];
    }
}

static void take_steps(job *j, run_part *run, const chosen *c, const int64_t *slot) {
    float dot[MP_TC_PAIRS], sum[MP_TC_PAIRS] = {0};
    for (int64_t k = 0; k < j->form.k; k += j->form.part) {
        float *to = j->parts ? dot : sum;
        const uint64_t certain = run(j, c, k, to);
        for (int i = 0; i < c->count; i++) {
            const mp_tc_bracket_side *a = &j->s->row[c->row[i]], *w = &j->s->column[c->column[i]];
            if (!(certain >> i & 1) && (a->small || w->small)) {
                to[i] = definition(j, a->codes, w->codes, k);
                j->redone++;
            }
            if (!j->parts) continue;
            const mp_gemm_f32_tile tile = {j->task->expert, 1, j->task->n0 + c->column[i], 1,
                                           &slot[c->row[i]]};
            j->parts->add(j->parts->ctx, &(mp_tc_part){k / j->form.part, &tile, 1, &dot[i], &sum[i]});
        }
    }
    store(j, c, slot, sum);
}

/* ---- pairs of a block ---- */

static uint64_t run_pairs(const job *j, const chosen *c, int64_t first, float *dot) {
    const mp_tc_bracket_workspace *s = j->s;
    const mp_tc_bracket_form *f = &j->form;
    const int64_t row = c->row[0] / REACH * REACH, column = c->column[0] / REACH * REACH,
                  panel = column / COLUMNS * COLUMNS;
    const float *rows = s->rows + row * f->k + first * MP_TC_BRACKET_ROWS;
    mp_tc_pairs p = {.group = f->step.group,
                     .fraction_bits = f->step.fraction_bits,
                     .groups = mp_tc_bracket_part_terms(f, first) / f->step.group,
                     .by_pairs = f->by_pairs,
                     .a = {rows, rows + MP_TC_BRACKET_ROWS * f->k},
                     .w = s->panels + panel * f->k + first * COLUMNS + column % COLUMNS,
                     .a_exponent = s->row_exponents + row / COLUMNS * COLUMNS * f->k + first * COLUMNS,
                     .w_exponent = s->column_exponents + panel * f->k + first * COLUMNS,
                     .count = c->count};
    for (int i = 0; i < MP_TC_PAIRS; i++) {
        const int of = i < c->count ? i : 0;
        p.row[i] = (uint8_t)(c->row[of] % COLUMNS);
        p.column[i] = (uint8_t)(c->column[of] % COLUMNS);
    }
    const uint64_t certain = j->kernel->run_pairs(&p, dot);
    return f->dtype == MP_FP16 ? UINT64_MAX : certain; /* all of whose numbers have exponents */
}

/* Of all rows that are packed, and once of the task's columns. */
static void make_exponents(job *j, int64_t count) {
    mp_tc_bracket_workspace *s = j->s;
    const int64_t k = j->form.k;
    for (int64_t r = 0; r < count; r += MP_TC_BRACKET_ROWS)
        mp_tc_bracket_exponents(&j->form, MP_TC_BRACKET_ROWS, s->rows + r * k,
                                s->row_exponents + r / COLUMNS * COLUMNS * k + r % COLUMNS);
    for (int64_t n = 0; n < j->task->n && !j->has_column_exponents; n += COLUMNS)
        mp_tc_bracket_exponents(&j->form, COLUMNS, s->panels + n * k, s->column_exponents + n * k);
    j->has_column_exponents = true;
}

/* Open results of a block of rows by columns that are in reach of each other. */
static void take_steps_of_block(job *j, const int64_t *slot, int64_t row, int64_t rows, int64_t column) {
    chosen c = {0};
    for (int64_t r = row; r < row + rows; r++) {
        uint64_t open = j->s->open[r][column / COLUMNS] >> column % COLUMNS & (UINT64_MAX >> REACH);
        for (; open; open &= open - 1) {
            c.row[c.count] = r;
            c.column[c.count++] = column + __builtin_ctzll(open);
            if (c.count < MP_TC_PAIRS) continue;
            take_steps(j, run_pairs, &c, slot);
            c.count = 0;
        }
    }
    if (c.count > 0) take_steps(j, run_pairs, &c, slot);
}

/* ---- lanes of a row ---- */

static uint64_t run_lanes(const job *j, const chosen *c, int64_t first, float *dot) {
    const mp_tc_bracket_workspace *s = j->s;
    const mp_tc_bracket_form *f = &j->form;
    const mp_tc_lanes lanes = {.fp16 = f->dtype == MP_FP16,
                               .group = f->step.group,
                               .fraction_bits = f->step.fraction_bits,
                               .groups = mp_tc_bracket_part_terms(f, first) / f->step.group,
                               .by_pairs = f->by_pairs,
                               .a = s->numbers + first,
                               .exponent = s->exponents + first,
                               .hidden = s->hidden + first / f->step.group,
                               .w = s->lanes + first * MP_TC_LANES};
    if (first == 0) {
        const uint16_t *codes[MP_TC_LANES];
        for (int i = 0; i < MP_TC_LANES; i++) codes[i] = s->column[c->column[i < c->count ? i : 0]].codes;
        mp_tc_bracket_fill_lanes(f, codes, s->lanes);
    }
    return j->kernel->run_lanes(&lanes, dot);
}

static void take_steps_of_row(job *j, const int64_t *slot, int64_t r) {
    chosen c = {0};
    uint64_t any = 0;
    for (int64_t panel = 0; panel * COLUMNS < j->task->n; panel++) any |= j->s->open[r][panel];
    if (!any) return;
    mp_tc_bracket_numbers(&j->form, j->s->row[r].codes, j->s->numbers);
    mp_tc_lanes_prepare(j->form.dtype == MP_FP16, j->form.step.group, j->form.k, j->s->numbers,
                        j->s->exponents, j->s->hidden);
    for (int64_t panel = 0; panel * COLUMNS < j->task->n; panel++)
        for (uint64_t open = j->s->open[r][panel]; open; open &= open - 1) {
            c.row[c.count] = r;
            c.column[c.count++] = panel * COLUMNS + __builtin_ctzll(open);
            if (c.count < MP_TC_LANES) continue;
            take_steps(j, run_lanes, &c, slot);
            c.count = 0;
        }
    if (c.count > 0) take_steps(j, run_lanes, &c, slot);
}

/* By measurements: vectors have to be filled, and exponents of all columns made. */
static bool pairs_pay(const job *j, int64_t opened) {
    enum { OPEN_IN_A_COLUMN = 3 };
    return j->kernel->run_pairs && opened >= OPEN_IN_A_COLUMN * j->task->n;
}

void mp_tc_bracket_take_steps(job *j, const int64_t *slot, int64_t count, int64_t opened) {
    if (!pairs_pay(j, opened)) {
        for (int64_t r = 0; r < count; r++) take_steps_of_row(j, slot, r);
        return;
    }
    make_exponents(j, count);
    for (int64_t n = 0; n < j->task->n; n += REACH)
        for (int64_t r = 0; r < count; r += REACH)
            take_steps_of_block(j, slot, r, count - r < REACH ? count - r : REACH, n);
}
