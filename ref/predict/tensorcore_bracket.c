/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_bracket.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_bracket_job.h"

#include <string.h>

enum {
    COLUMNS = MP_TC_BRACKET_COLUMNS,
    BLOCK_ROWS = MP_TC_BRACKET_ROWS, /* by a panel: their sums stay in the first-level cache */
    BLOCK = BLOCK_ROWS * COLUMNS,
    ROWS = MP_TC_BRACKET_PACKED_ROWS,
    MOST_STEPS = 512
};

/* Of a block, for a part, and for the parts so far. A vector's loads and stores cross no line. */
typedef struct brackets {
    _Alignas(64) float least[BLOCK], sum[BLOCK], sizes[BLOCK];
    float low[BLOCK], high[BLOCK], all_low[BLOCK], all_high[BLOCK];
} brackets;

typedef mp_tc_bracket_job job;

bool mp_tc_bracket_covers(const mp_tc_model *m, const mp_tc_parts *parts, int64_t K, mp_dtype out) {
    const bool from_bf16 = m->a == MP_TC_BF16 && m->b == MP_TC_BF16,
               from_fp16 = m->a == MP_TC_FP16 && m->b == MP_TC_FP16,
               from_e4m3 = m->a == MP_TC_E4M3 && m->b == MP_TC_E4M3 && m->method != MP_TC_DIRECT;
    const mp_tc_model step = mp_tc_step(m);
    return ((out == MP_BF16 && (from_bf16 || from_e4m3)) || (out == MP_FP16 && (from_fp16 || from_e4m3))) &&
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

static size_t workspace_make(mp_tc_bracket_workspace *s, char *scratch, int64_t k, int64_t parts) {
    size_t used = 0;
    taken(scratch, &used, 1, sizeof *s);
    s->rows = taken(scratch, &used, ROWS * k, sizeof *s->rows);
    s->panels = taken(scratch, &used, MP_SLAB_COLUMNS * k, sizeof *s->panels);
    s->row_exponents = taken(scratch, &used, ROWS * k, sizeof *s->row_exponents);
    s->column_exponents = taken(scratch, &used, MP_SLAB_COLUMNS * k, sizeof *s->column_exponents);
    s->row_norms = taken(scratch, &used, ROWS * parts, sizeof *s->row_norms);
    s->column_norms = taken(scratch, &used, MP_SLAB_COLUMNS * parts, sizeof *s->column_norms);
    s->row_codes = taken(scratch, &used, ROWS * k, sizeof *s->row_codes);
    s->column_codes = taken(scratch, &used, MP_SLAB_COLUMNS * k, sizeof *s->column_codes);
    s->numbers = taken(scratch, &used, k, sizeof *s->numbers);
    s->exponents = taken(scratch, &used, k, sizeof *s->exponents);
    s->hidden = taken(scratch, &used, k, sizeof *s->hidden);
    s->lanes = taken(scratch, &used, k * MP_TC_LANES, sizeof *s->lanes);
    s->a_code = taken(scratch, &used, k, sizeof *s->a_code);
    s->w_code = taken(scratch, &used, k, sizeof *s->w_code);
    return used;
}

size_t mp_tc_bracket_bytes(const mp_tc_parts *parts, int64_t K) {
    mp_tc_bracket_workspace unused;
    const int64_t k = (K + MP_TC_BRACKET_TERMS - 1) / MP_TC_BRACKET_TERMS * MP_TC_BRACKET_TERMS;
    return workspace_make(&unused, NULL, k, parts ? (k + parts->terms - 1) / parts->terms : 1);
}

/* ---- operands ---- */

/* Columns n .. of the task, of a panel. */
static bool pack_columns(const job *j, int64_t n) {
    const mp_tensor *w = j->call->problem->w.codes;
    const int64_t first = j->task->expert * w->dim[1] + j->task->n0 + n, left = j->task->n - n;
    mp_tc_bracket_workspace *s = j->s;
    int64_t row[COLUMNS];
    for (int64_t i = 0; i < COLUMNS; i++) row[i] = first + i;
    return mp_tc_bracket_pack(&j->form, w, row, left < COLUMNS ? left : COLUMNS,
                              &(mp_tc_bracket_panel){.width = COLUMNS,
                                                     .numbers = s->panels + n * j->form.k,
                                                     .norms = s->column_norms + n,
                                                     .norms_stride = MP_SLAB_COLUMNS,
                                                     .copies = s->column_codes + n * j->form.k,
                                                     .sides = &s->column[n]});
}

/* Rows r .. of those that are packed at once, of which there are `count`. */
static bool pack_rows(const job *j, const int64_t *slot, int64_t r, int64_t count) {
    const mp_gemm_problem *p = j->call->problem;
    const int64_t left = count - r < BLOCK_ROWS ? count - r : BLOCK_ROWS;
    mp_tc_bracket_workspace *s = j->s;
    int64_t row[BLOCK_ROWS];
    for (int64_t i = 0; i < left; i++) row[i] = p->a_row[slot[r + i]];
    return mp_tc_bracket_pack(&j->form, p->a.codes, row, left,
                              &(mp_tc_bracket_panel){.width = BLOCK_ROWS,
                                                     .numbers = s->rows + r * j->form.k,
                                                     .norms = s->row_norms + r,
                                                     .norms_stride = ROWS,
                                                     .copies = s->row_codes + r * j->form.k,
                                                     .sides = &s->row[r]});
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

/* Rows r0 .. r0+rows, of a block, by a panel, terms first .. first+terms of a part. */
static void bracket(const job *j, brackets *b, int64_t r0, int64_t rows, int64_t panel, int64_t first,
                    int64_t terms, float *low, float *high) {
    mp_tc_bracket_workspace *s = j->s;
    const mp_tc_bracket_form *f = &j->form;
    const int64_t part = first / f->part, steps = terms / f->step.group;
    const float *norms = s->column_norms + part * MP_SLAB_COLUMNS + panel * COLUMNS;
    memset(b->sum, 0, (size_t)(rows * COLUMNS) * sizeof *b->sum);
    memset(b->sizes, 0, (size_t)(rows * COLUMNS) * sizeof *b->sizes);
    j->kernel->run_bracket(&(mp_tc_bracket_block){.group = f->step.group,
                                                  .chain = f->chain,
                                                  .groups = steps,
                                                  .rows = rows,
                                                  .a = s->rows + r0 * f->k + first * BLOCK_ROWS,
                                                  .w = s->panels + panel * COLUMNS * f->k + first * COLUMNS,
                                                  .least = b->least,
                                                  .sum = b->sum,
                                                  .sizes = b->sizes});
    for (int64_t r = 0, at = 0; r < rows; r++, at += COLUMNS)
        ends(f->of_sizes, f->of_least * (float)steps, f->of_norms * s->row_norms[part * ROWS + r0 + r],
             b->sum + at, b->sizes + at, b->least + at, norms, low + at, high + at);
}

/* The same of all parts, which are added at both ends. */
static void bracket_parts(const job *j, brackets *b, const mp_gemm_f32_tile *tile, int64_t r0, int64_t rows,
                          int64_t panel) {
    mp_tc_part low = {.tile = tile, .stride = COLUMNS, .dot = b->low, .sum = b->all_low}, high = low;
    high.dot = b->high;
    high.sum = b->all_high;
    memset(b->all_low, 0, sizeof b->all_low);
    memset(b->all_high, 0, sizeof b->all_high);
    for (int64_t k = 0; k < j->form.k; k += j->form.part, low.index++, high.index++) {
        bracket(j, b, r0, rows, panel, k, mp_tc_bracket_part_terms(&j->form, k), b->low, b->high);
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
    uint8_t differs[COLUMNS];
    for (int i = 0; i < COLUMNS; i++) differs[i] = a[i] != b[i];
    for (int i = 0; i < COLUMNS / BYTE; i++) { /* the product brings byte j's bit to bit 56+j */
        uint64_t bytes;
        memcpy(&bytes, differs + BYTE * i, sizeof bytes);
        bits |= bytes * 0x0102040810204080 >> 56 << (BYTE * i);
    }
    return bits;
}

uint16_t *mp_tc_bracket_out(const job *j, int64_t slot) {
    const int64_t at = mp_gemm_f32_out_at(j->call, slot);
    return at < 0 ? NULL : (uint16_t *)j->call->out->data + at + j->task->n0;
}

/* Rows r0 .. r0+count of those that are packed, by a panel. Returns how many results are open. */
static int64_t settle(const job *j, const int64_t *slot, int64_t r0, int64_t count, int64_t panel) {
    enum { AT_ONCE = 4 };
    mp_tc_bracket_workspace *s = j->s;
    brackets b;
    const int64_t first = panel * COLUMNS, left = j->task->n - first, n = left < COLUMNS ? left : COLUMNS,
                  rows = (count + AT_ONCE - 1) / AT_ONCE * AT_ONCE;
    const mp_gemm_f32_tile tile = {j->task->expert, count, j->task->n0 + first, n, slot + r0};
    int64_t opened = 0;
    for (int64_t r = 0; r < rows; r++)
        multiply(s->row[r0 + r].power, &s->column[first], b.least + r * COLUMNS);
    if (j->parts)
        bracket_parts(j, &b, &tile, r0, rows, panel);
    else
        bracket(j, &b, r0, rows, panel, 0, j->form.k, b.all_low, b.all_high);
    for (int64_t r = 0; r < count; r++) {
        uint16_t code[COLUMNS] = {0}, high_code[COLUMNS] = {0}, *out = mp_tc_bracket_out(j, slot[r0 + r]);
        s->open[r0 + r][panel] = 0;
        if (!out) continue;
        stored(j, slot[r0 + r], first, n, b.all_low + r * COLUMNS, code);
        stored(j, slot[r0 + r], first, n, b.all_high + r * COLUMNS, high_code);
        s->open[r0 + r][panel] = differing(code, high_code);
        opened += __builtin_popcountll(s->open[r0 + r][panel]);
        memcpy(out + first, code, (size_t)n * sizeof *code);
    }
    return opened;
}

/* ---- a task ---- */

bool mp_tc_bracket_task(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_tc_parts *parts,
                        const mp_gemm_f32_call *call, const mp_gemm_task *task, void *scratch,
                        mp_tc_counts *counts) {
    job j = {.kernel = kernel,
             .parts = parts,
             .call = call,
             .task = task,
             .form = mp_tc_bracket_form_of(model, parts ? parts->terms : 0, call->problem->w.codes->dim[2],
                                           call->out->dtype),
             .s = scratch};
    int64_t opened = 0, all = 0;
    workspace_make(j.s, scratch, j.form.k, mp_tc_bracket_parts(&j.form));
    for (int64_t i = 0; i < task->count; i += ROWS) {
        const int64_t *slot = call->order + task->first + i,
                      count = task->count - i < ROWS ? task->count - i : ROWS;
        const int64_t before = opened;
        for (int64_t r = 0; r < count; r += BLOCK_ROWS)
            if (!pack_rows(&j, slot, r, count)) return false;
        for (int64_t n = 0; n < task->n; n += COLUMNS) {
            if (i == 0 && !pack_columns(&j, n)) return false;
            for (int64_t r = 0; r < count; r += BLOCK_ROWS)
                opened += settle(&j, slot, r, count - r < BLOCK_ROWS ? count - r : BLOCK_ROWS, n / COLUMNS);
            all += count * (task->n - n < COLUMNS ? task->n - n : COLUMNS);
            if (opened * kernel->one_open_in > all) return false;
        }
        mp_tc_bracket_take_steps(&j, slot, count, opened - before);
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
