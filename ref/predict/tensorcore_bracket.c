/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_bracket.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_bracket_pack.h"
#include "ref/predict/tensorcore_lanes.h"

#include <string.h>

enum {
    COLUMNS = MP_TC_BRACKET_COLUMNS,
    PANELS = MP_SLAB_COLUMNS / COLUMNS,
    BLOCK_ROWS = 16, /* by a panel: their sums stay in the first-level cache */
    BLOCK = BLOCK_ROWS * COLUMNS,
    ROWS = 128, /* that are packed at once: a panel is read once for them all */
    MOST_STEPS = 512
};

typedef struct workspace {
    mp_tc_bracket_side row[ROWS], column[MP_SLAB_COLUMNS];
    uint64_t open[ROWS][PANELS]; /* a bit for every column */
    float least[BLOCK], sum[BLOCK], sizes[BLOCK];
    float low[BLOCK], high[BLOCK], all_low[BLOCK], all_high[BLOCK]; /* of a part; of the parts so far */
    /* Behind it: */
    float *rows, *panels;               /* [ROWS, k]; [PANELS, k, COLUMNS] */
    float *row_norms, *column_norms;    /* [parts, ROWS]; [parts, MP_SLAB_COLUMNS] */
    uint16_t *row_codes, *column_codes; /* [ROWS, k]; [MP_SLAB_COLUMNS, k] */
    int32_t *exponents;                 /* [k] of a row */
    int32_t *hidden;                    /* [steps] */
    uint16_t *lanes;                    /* [k, MP_TC_LANES] */
    uint32_t *a_code, *w_code;          /* [k] for the definition */
} workspace;

typedef struct job {
    const mp_tc_kernel *kernel;
    const mp_tc_parts *parts;
    const mp_gemm_f32_call *call;
    const mp_gemm_task *task;
    mp_tc_bracket_form form;
    workspace *s;
    int64_t redone;
} job;

bool mp_tc_bracket_covers(const mp_tc_model *m, const mp_tc_parts *parts, int64_t K, mp_dtype out) {
    const bool from_bf16 = m->a == MP_TC_BF16 && m->b == MP_TC_BF16,
               from_fp16 = m->a == MP_TC_FP16 && m->b == MP_TC_FP16,
               from_e4m3 = m->a == MP_TC_E4M3 && m->b == MP_TC_E4M3 && m->method != MP_TC_DIRECT;
    const mp_tc_model step = mp_tc_step(m);
    return (out == (from_fp16 ? MP_FP16 : MP_BF16)) && (from_bf16 || from_fp16 || from_e4m3) &&
           step.result == MP_TC_FLOAT32 &&
           (step.group == 16 || (step.group == 8 && m->method != MP_TC_THROUGH_FP16)) &&
           step.fraction_bits >= 24 && step.fraction_bits <= 25 && step.result_fraction_bits == 23 &&
           step.zero_exponent <= -126 && K > 0 && K <= MOST_STEPS * step.group &&
           (!parts || (parts->monotone && parts->terms % MP_TC_BRACKET_TERMS == 0));
}

/* Takes `count` elements behind the workspace; of none of it: counts them. */
static void *taken(char *scratch, size_t *used, int64_t count, size_t size) {
    void *at = scratch ? scratch + *used : NULL;
    *used = (*used + (size_t)count * size + 63) / 64 * 64;
    return at;
}

static size_t workspace_make(workspace *s, char *scratch, int64_t k, int64_t parts) {
    size_t used = 0;
    taken(scratch, &used, 1, sizeof *s);
    s->rows = taken(scratch, &used, ROWS * k, sizeof *s->rows);
    s->panels = taken(scratch, &used, MP_SLAB_COLUMNS * k, sizeof *s->panels);
    s->row_norms = taken(scratch, &used, ROWS * parts, sizeof *s->row_norms);
    s->column_norms = taken(scratch, &used, MP_SLAB_COLUMNS * parts, sizeof *s->column_norms);
    s->row_codes = taken(scratch, &used, ROWS * k, sizeof *s->row_codes);
    s->column_codes = taken(scratch, &used, MP_SLAB_COLUMNS * k, sizeof *s->column_codes);
    s->exponents = taken(scratch, &used, k, sizeof *s->exponents);
    s->hidden = taken(scratch, &used, k, sizeof *s->hidden);
    s->lanes = taken(scratch, &used, k * MP_TC_LANES, sizeof *s->lanes);
    s->a_code = taken(scratch, &used, k, sizeof *s->a_code);
    s->w_code = taken(scratch, &used, k, sizeof *s->w_code);
    return used;
}

size_t mp_tc_bracket_bytes(const mp_tc_parts *parts, int64_t K) {
    workspace unused;
    const int64_t k = (K + MP_TC_BRACKET_TERMS - 1) / MP_TC_BRACKET_TERMS * MP_TC_BRACKET_TERMS;
    return workspace_make(&unused, NULL, k, parts ? (k + parts->terms - 1) / parts->terms : 1);
}

static int64_t part_terms(const job *j, int64_t first) {
    return j->form.k - first < j->form.part ? j->form.k - first : j->form.part;
}

/* ---- operands ---- */

/* Columns n .. of the task, of a panel. */
static bool pack_columns(const job *j, int64_t n) {
    const mp_tensor *w = j->call->problem->w.codes;
    const int64_t first = j->task->expert * w->dim[1] + j->task->n0 + n, left = j->task->n - n;
    workspace *s = j->s;
    return mp_tc_bracket_pack_panel(&j->form, w, first, left < COLUMNS ? left : COLUMNS,
                                    s->column_codes + n * j->form.k, s->panels + n * j->form.k,
                                    s->column_norms + n, MP_SLAB_COLUMNS, &s->column[n]);
}

/* And zeros, up to whole blocks of a micro-kernel. */
static bool pack_rows(const job *j, const int64_t *slot, int64_t count) {
    const mp_gemm_problem *p = j->call->problem;
    const int64_t k = j->form.k;
    workspace *s = j->s;
    int64_t r = 0;
    for (; r < count; r++)
        if (!mp_tc_bracket_pack_row(&j->form, p->a.codes, p->a_row[slot[r]], s->row_codes + r * k,
                                    s->rows + r * k, s->row_norms + r, ROWS, &s->row[r]))
            return false;
    for (; r % MP_TC_BRACKET_ROWS != 0; r++) {
        memset(s->rows + r * k, 0, (size_t)k * sizeof *s->rows);
        s->row[r] = (mp_tc_bracket_side){0};
    }
    return true;
}

/* ---- brackets ---- */

MP_CLONES static void multiply(float row, const mp_tc_bracket_side *columns, float *products) {
    for (int n = 0; n < COLUMNS; n++) products[n] = row * columns[n].power;
}

MP_CLONES static void ends(float of_sizes, float of_least, float of_norms, const float *sum,
                           const float *sizes, const float *least, const float *norms, float *low,
                           float *high) {
    for (int n = 0; n < COLUMNS; n++) {
        const float radius = of_sizes * sizes[n] + of_least * least[n] + of_norms * norms[n];
        low[n] = sum[n] - radius;
        high[n] = sum[n] + radius;
    }
}

/* Rows r0 .. r0+rows by a panel, terms first .. first+terms of a part. */
static void bracket(const job *j, int64_t r0, int64_t rows, int64_t panel, int64_t first, int64_t terms,
                    float *low, float *high) {
    workspace *s = j->s;
    const mp_tc_bracket_form *f = &j->form;
    const int64_t part = first / f->part, steps = terms / f->step.group;
    const float *norms = s->column_norms + part * MP_SLAB_COLUMNS + panel * COLUMNS;
    memset(s->sum, 0, (size_t)(rows * COLUMNS) * sizeof *s->sum);
    memset(s->sizes, 0, (size_t)(rows * COLUMNS) * sizeof *s->sizes);
    j->kernel->run_bracket(&(mp_tc_bracket_block){.group = f->step.group,
                                                  .groups = steps,
                                                  .rows = rows,
                                                  .a = s->rows + r0 * f->k + first,
                                                  .stride = f->k,
                                                  .w = s->panels + panel * COLUMNS * f->k + first * COLUMNS,
                                                  .least = s->least,
                                                  .sum = s->sum,
                                                  .sizes = s->sizes});
    for (int64_t r = 0, at = 0; r < rows; r++, at += COLUMNS)
        ends(f->of_sizes, f->of_least * (float)steps, f->of_norms * s->row_norms[part * ROWS + r0 + r],
             s->sum + at, s->sizes + at, s->least + at, norms, low + at, high + at);
}

/* The same of all parts, which are added at both ends. */
static void bracket_parts(const job *j, const mp_gemm_f32_tile *tile, int64_t r0, int64_t rows,
                          int64_t panel) {
    workspace *s = j->s;
    mp_tc_part low = {.tile = tile, .stride = COLUMNS, .dot = s->low, .sum = s->all_low}, high = low;
    high.dot = s->high;
    high.sum = s->all_high;
    memset(s->all_low, 0, sizeof s->all_low);
    memset(s->all_high, 0, sizeof s->all_high);
    for (int64_t k = 0; k < j->form.k; k += j->form.part, low.index++, high.index++) {
        bracket(j, r0, rows, panel, k, part_terms(j, k), s->low, s->high);
        j->parts->add(j->parts->ctx, &low);
        j->parts->add(j->parts->ctx, &high);
    }
}

/* Columns first .. first+n of a slot's row: what is stored if the sums are these. */
static void stored(const job *j, int64_t slot, int64_t first, int64_t n, float *sums, uint16_t *codes) {
    mp_epilogue_row_f32(j->call->epilogue, j->task->expert, j->task->n0 + first, n, slot, sums);
    mp_encode_row_f32(j->call->out->dtype, codes, 0, n, sums);
}

/* A bit for each code that differs. */
MP_CLONES static uint64_t differing(const uint16_t a[COLUMNS], const uint16_t b[COLUMNS]) {
    enum { BYTE = 8 };
    uint64_t bits = 0;
    for (int i = 0; i < COLUMNS / BYTE; i++, a += BYTE, b += BYTE) {
        unsigned byte = 0;
        for (int j = 0; j < BYTE; j++) byte |= (unsigned)(a[j] != b[j]) << j;
        bits |= (uint64_t)byte << (BYTE * i);
    }
    return bits;
}

/* Where a slot's columns of the task are stored; NULL: nowhere. */
static uint16_t *out_of(const job *j, int64_t slot) {
    const int64_t at = mp_gemm_f32_out_at(j->call, slot);
    return at < 0 ? NULL : (uint16_t *)j->call->out->data + at + j->task->n0;
}

/* Rows r0 .. r0+count of those that are packed, by a panel. Returns how many results are open. */
static int64_t settle(const job *j, const int64_t *slot, int64_t r0, int64_t count, int64_t panel) {
    workspace *s = j->s;
    const int64_t first = panel * COLUMNS, left = j->task->n - first, n = left < COLUMNS ? left : COLUMNS,
                  rows = (count + MP_TC_BRACKET_ROWS - 1) / MP_TC_BRACKET_ROWS * MP_TC_BRACKET_ROWS;
    const mp_gemm_f32_tile tile = {j->task->expert, count, j->task->n0 + first, n, slot + r0};
    int64_t opened = 0;
    for (int64_t r = 0; r < rows; r++)
        multiply(s->row[r0 + r].power, &s->column[first], s->least + r * COLUMNS);
    if (j->parts)
        bracket_parts(j, &tile, r0, rows, panel);
    else
        bracket(j, r0, rows, panel, 0, j->form.k, s->all_low, s->all_high);
    for (int64_t r = 0; r < count; r++) {
        uint16_t code[COLUMNS] = {0}, high_code[COLUMNS] = {0}, *out = out_of(j, slot[r0 + r]);
        s->open[r0 + r][panel] = 0;
        if (!out) continue;
        stored(j, slot[r0 + r], first, n, s->all_low + r * COLUMNS, code);
        stored(j, slot[r0 + r], first, n, s->all_high + r * COLUMNS, high_code);
        s->open[r0 + r][panel] = differing(code, high_code);
        opened += __builtin_popcountll(s->open[r0 + r][panel]);
        memcpy(out + first, code, (size_t)n * sizeof *code);
    }
    return opened;
}

/* ---- what they leave open ---- */

/* By pairs no number is small: then this is not called. */
static float definition(const job *j, const uint16_t *a, const uint16_t *w, int64_t first, int64_t terms) {
    const int64_t codes = mp_tc_bracket_terms(&j->form) - first, count = terms < codes ? terms : codes;
    for (int64_t k = 0; k < count; k++) {
        j->s->a_code[k] = a[first + k];
        j->s->w_code[k] = w[first + k];
    }
    return mp_float_of_bits(mp_tc_dot(&j->form.step, count, j->s->a_code, j->s->w_code, 0));
}

/* A part's terms from `first` on of `count` columns by row r, whose lanes are filled. */
static void run_lanes(job *j, int64_t r, int64_t count, const int64_t column[MP_TC_LANES], int64_t first,
                      float dot[MP_TC_LANES]) {
    workspace *s = j->s;
    const mp_tc_bracket_form *f = &j->form;
    const mp_tc_lanes lanes = {.fp16 = f->dtype == MP_FP16,
                               .group = f->step.group,
                               .fraction_bits = f->step.fraction_bits,
                               .groups = part_terms(j, first) / f->step.group,
                               .by_pairs = f->by_pairs,
                               .a = s->rows + r * f->k + first,
                               .exponent = s->exponents + first,
                               .hidden = s->hidden + first / f->step.group,
                               .w = s->lanes + first * MP_TC_LANES};
    const unsigned certain = j->kernel->run_lanes(&lanes, dot);
    for (int64_t i = 0; i < count; i++) {
        const mp_tc_bracket_side *w = &s->column[column[i]];
        if (certain >> i & 1 || !(s->row[r].small || w->small)) continue;
        dot[i] = definition(j, s->row[r].codes, w->codes, first, part_terms(j, first));
        j->redone++;
    }
}

/* `count` columns of a slot's row, MP_TC_LANES at most. */
static void take_steps(job *j, int64_t r, int64_t slot, int64_t count, const int64_t column[MP_TC_LANES]) {
    const uint16_t *codes[MP_TC_LANES];
    float dot[MP_TC_LANES], sum[MP_TC_LANES] = {0};
    for (int64_t i = 0; i < MP_TC_LANES; i++) codes[i] = j->s->column[column[i < count ? i : 0]].codes;
    mp_tc_bracket_fill_lanes(&j->form, codes, j->s->lanes);
    for (int64_t k = 0; k < j->form.k; k += j->form.part) {
        run_lanes(j, r, count, column, k, j->parts ? dot : sum);
        for (int64_t i = 0; i < count && j->parts; i++) {
            const mp_gemm_f32_tile tile = {j->task->expert, 1, j->task->n0 + column[i], 1, &slot};
            j->parts->add(j->parts->ctx, &(mp_tc_part){k / j->form.part, &tile, 1, &dot[i], &sum[i]});
        }
    }
    uint16_t *out = out_of(j, slot);
    for (int64_t i = 0; i < count; i++) stored(j, slot, column[i], 1, &sum[i], &out[column[i]]);
}

static void take_steps_of_row(job *j, int64_t r, int64_t slot) {
    int64_t column[MP_TC_LANES], count = 0;
    mp_tc_lanes_prepare(j->form.dtype == MP_FP16, j->form.step.group, j->form.k, j->s->rows + r * j->form.k,
                        j->s->exponents, j->s->hidden);
    for (int64_t panel = 0; panel * COLUMNS < j->task->n; panel++)
        for (uint64_t open = j->s->open[r][panel]; open; open &= open - 1) {
            column[count++] = panel * COLUMNS + __builtin_ctzll(open);
            if (count < MP_TC_LANES) continue;
            take_steps(j, r, slot, count, column);
            count = 0;
        }
    if (count > 0) take_steps(j, r, slot, count, column);
}

/* ---- a task ---- */

bool mp_tc_bracket_task(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_tc_parts *parts,
                        const mp_gemm_f32_call *call, const mp_gemm_task *task, void *scratch,
                        mp_tc_counts *counts) {
    job j = {.kernel = kernel,
             .parts = parts,
             .call = call,
             .task = task,
             .form = mp_tc_bracket_form_of(model, parts ? parts->terms : 0, call->problem->w.codes->dim[2]),
             .s = scratch};
    int64_t opened = 0, all = 0;
    workspace_make(j.s, scratch, j.form.k, mp_tc_bracket_parts(&j.form));
    for (int64_t i = 0; i < task->count; i += ROWS) {
        const int64_t *slot = call->order + task->first + i,
                      count = task->count - i < ROWS ? task->count - i : ROWS;
        if (!pack_rows(&j, slot, count)) return false;
        for (int64_t n = 0; n < task->n; n += COLUMNS) {
            if (i == 0 && !pack_columns(&j, n)) return false;
            for (int64_t r = 0; r < count; r += BLOCK_ROWS)
                opened += settle(&j, slot, r, count - r < BLOCK_ROWS ? count - r : BLOCK_ROWS, n / COLUMNS);
            all += count * (task->n - n < COLUMNS ? task->n - n : COLUMNS);
            if (opened * kernel->one_open_in > all) return false;
        }
        for (int64_t r = 0; r < count; r++) take_steps_of_row(&j, r, slot[r]);
    }
    if (counts) {
#pragma omp atomic
        counts->settled += all - opened;
#pragma omp atomic
        counts->opened += opened;
#pragma omp atomic
        counts->redone += j.redone;
    }
    return true;
}
