/* SPDX-License-Identifier: Apache-2.0 */
#include "ref/predict/tensorcore_bracket.h"

#include "base/bits.h"
#include "base/clones.h"
#include "ref/predict/tensorcore_lanes.h"
#include "ref/predict/tensorcore_scale.h"
#include "ref/predict/transpose.h"

#include <math.h>
#include <stdlib.h>

enum {
    COLUMNS = MP_TC_BRACKET_COLUMNS,
    PANELS = MP_SLAB_COLUMNS / COLUMNS,
    BLOCK_ROWS = 16, /* by a panel: their sums stay in the first-level cache */
    ROWS = 64,       /* that are packed at once: a panel is read once for them all */
    TERMS = 16,      /* rows are filled up to a multiple of it, with zeros */
    MOST_STEPS = 512,
    LARGEST_EXPONENT = 16,
    LEFT_OPEN = 6 /* the steps are quicker where more than one in so many is */
};

/* A row of a or a column of w: the power of two of its largest number, or 0; the norm |.|_c; whether a number
 * lies far below the largest. */
typedef struct side {
    float power, norm;
    bool small;
} side;

typedef struct workspace {
    side row[ROWS], column[MP_SLAB_COLUMNS];
    uint64_t open[ROWS][PANELS]; /* a bit for every column */
    float least[BLOCK_ROWS * COLUMNS], sum[BLOCK_ROWS * COLUMNS], sizes[BLOCK_ROWS * COLUMNS];
    /* Behind it: */
    float *rows, *panels;      /* [ROWS, k]; [PANELS, k, COLUMNS] */
    int32_t *exponents;        /* [k] of a row */
    uint32_t *lanes;           /* [k/2, MP_TC_LANES] */
    uint32_t *a_code, *w_code; /* [k] for the definition */
} workspace;

typedef struct job {
    const mp_tc_kernel *kernel;
    const mp_tc_model *model;
    const mp_gemm_f32_call *call;
    const mp_gemm_task *task;
    workspace *s;
    int64_t K, padded_k;
    const uint16_t *w;        /* the codes of the task's columns, [n, K] */
    float weight[TERMS];      /* c: in how many roundings a term of a chain is */
    float of_sizes, of_norms; /* the radius' coefficients */
    int64_t redone;
} job;

static int64_t padded(int64_t K) {
    return (K + TERMS - 1) / TERMS * TERMS;
}

bool mp_tc_bracket_covers(const mp_tc_model *m, int64_t K, mp_dtype out) {
    return out == MP_BF16 && m->a == MP_TC_BF16 && m->b == MP_TC_BF16 && m->method == MP_TC_DIRECT &&
           m->result == MP_TC_FLOAT32 && (m->group == 8 || m->group == 16) && m->fraction_bits >= 24 &&
           m->fraction_bits <= 25 && m->result_fraction_bits == 23 && m->zero_exponent <= -126 && K > 0 &&
           padded(K) / m->group <= MOST_STEPS;
}

size_t mp_tc_bracket_bytes(int64_t K) {
    const size_t k = (size_t)padded(K);
    return (sizeof(workspace) + 63) / 64 * 64 + k * (ROWS + MP_SLAB_COLUMNS) * sizeof(float) +
           k * (sizeof(int32_t) + MP_TC_LANES / 2 * sizeof(uint32_t) + 2 * sizeof(uint32_t));
}

static workspace *workspace_of(void *scratch, int64_t k) {
    workspace *s = scratch;
    s->rows = (float *)(void *)((char *)scratch + (sizeof *s + 63) / 64 * 64);
    s->panels = s->rows + ROWS * k;
    s->exponents = (int32_t *)(void *)(s->panels + MP_SLAB_COLUMNS * k);
    s->a_code = (uint32_t *)(void *)(s->exponents + k);
    s->w_code = s->a_code + k;
    s->lanes = s->w_code + k;
    return s;
}

/* ---- operands ---- */

MP_CLONES static void take_numbers(int64_t n, const uint16_t *codes, float *numbers) {
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)codes[i] << 16;
        memcpy(&numbers[i], &bits, sizeof bits);
    }
}

/* Sixteen sums, so that they are vectors. */
MP_CLONES static float weighted_squares(const float weight[TERMS], int64_t k, const float *numbers) {
    float part[TERMS] = {0}, sum = 0;
    for (int64_t i = 0; i < k; i += TERMS)
        for (int t = 0; t < TERMS; t++) part[t] += weight[t] * (numbers[i + t] * numbers[i + t]);
    for (int t = 0; t < TERMS; t++) sum += part[t];
    return sum;
}

/* The same of eight terms of all columns of a panel, [8, COLUMNS]. */
MP_CLONES static void add_weighted_squares(const float weight[8], const float *numbers, float *sum) {
    for (int t = 0; t < 8; t++)
        for (int n = 0; n < COLUMNS; n++)
            sum[n] += weight[t] * (numbers[t * COLUMNS + n] * numbers[t * COLUMNS + n]);
}

/* False: it is not ordinary. Inf and NaN have the largest exponent of all. Squares that are lost, of numbers
 * below 2^-63, are not alone in an ordinary one: without squares all numbers are zero. */
static bool survey(const job *j, const uint16_t *codes, float squares, side *of) {
    const mp_tc_scaling scaled = mp_tc_survey(&mp_tc_operands[MP_TC_BF16], (const char *)codes, j->K);
    *of = (side){.power = squares > 0 ? (float)mp_power_of_two(scaled.exponent) : 0,
                 .norm = sqrtf(squares),
                 .small = scaled.small};
    return abs(scaled.exponent) <= LARGEST_EXPONENT;
}

static const uint16_t *row_codes(const job *j, int64_t slot) {
    const mp_gemm_problem *p = j->call->problem;
    return (const uint16_t *)p->a.codes->data + p->a_row[slot] * j->K;
}

/* Rows that fill a micro-kernel's up. */
static void pack_zeros(const job *j, int64_t r) {
    memset(j->s->rows + r * j->padded_k, 0, (size_t)j->padded_k * sizeof(float));
    j->s->row[r] = (side){0};
}

static bool pack_row(const job *j, int64_t r, int64_t slot) {
    const uint16_t *codes = row_codes(j, slot);
    float *numbers = j->s->rows + r * j->padded_k;
    take_numbers(j->K, codes, numbers);
    memset(numbers + j->K, 0, (size_t)(j->padded_k - j->K) * sizeof *numbers);
    return survey(j, codes, weighted_squares(j->weight, j->padded_k, numbers), &j->s->row[r]);
}

/* Terms k .. k+7 of some rows of codes, one after the other; zeros behind the last term. */
static inline void take_eight(int rows, const uint16_t *const row[], int64_t k, int64_t K,
                              uint16_t copies[][8], const uint16_t *taken[]) {
    for (int i = 0; i < rows; i++) {
        taken[i] = row[i] + k;
        if (K - k >= 8) continue;
        memset(copies[i], 0, sizeof copies[i]);
        if (K > k) memcpy(copies[i], row[i] + k, (size_t)(K - k) * sizeof **row);
        taken[i] = copies[i];
    }
}

/* Columns behind the last are copies of it, whose results nobody reads. */
static bool pack_panel(const job *j, int64_t first, int64_t count) {
    float squares[COLUMNS] = {0}, *numbers = j->s->panels + first * j->padded_k;
    const uint16_t *codes[COLUMNS];
    for (int64_t n = 0; n < COLUMNS; n++) codes[n] = j->w + (first + (n < count ? n : count - 1)) * j->K;
    for (int64_t k = 0; k < j->padded_k; k += 8, numbers += 8 * COLUMNS) {
        uint16_t tile[8 * COLUMNS];
        for (int n = 0; n < COLUMNS; n += 8) {
            const uint16_t *eight[8];
            uint16_t copies[8][8];
            take_eight(8, codes + n, k, j->K, copies, eight);
            mp_transpose_eight(eight, COLUMNS, tile + n);
        }
        take_numbers(8 * COLUMNS, tile, numbers);
        add_weighted_squares(j->weight + k % TERMS, numbers, squares);
    }
    bool ordinary = true;
    for (int64_t n = 0; n < COLUMNS; n++)
        ordinary &= survey(j, codes[n], squares[n], &j->s->column[first + n]);
    return ordinary;
}

/* ---- brackets ---- */

MP_CLONES static void ends(const job *j, const side *row, const side *columns, const float *sum,
                           const float *sizes, float *low, float *high) {
    const float norm = row->norm * j->of_norms;
    for (int n = 0; n < COLUMNS; n++) {
        const float radius = j->of_sizes * sizes[n] + norm * columns[n].norm;
        low[n] = sum[n] - radius;
        high[n] = sum[n] + radius;
    }
}

/* Columns first .. first+n of a slot's row: what is stored if the sums are these. */
static void stored(const job *j, int64_t slot, int64_t first, int64_t n, float *sums, uint16_t *codes) {
    mp_epilogue_row_f32(j->call->epilogue, j->task->expert, j->task->n0 + first, n, slot, sums);
    mp_encode_row_f32(MP_BF16, codes, 0, n, sums);
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

MP_CLONES static void multiply(float row, const side *columns, float *products) {
    for (int n = 0; n < COLUMNS; n++) products[n] = row * columns[n].power;
}

/* Rows r0 .. r0+count of those that are packed, by a panel. */
static void settle(const job *j, const int64_t *slot, int64_t r0, int64_t count, int64_t panel) {
    workspace *s = j->s;
    const int64_t first = panel * COLUMNS, left = j->task->n - first, n = left < COLUMNS ? left : COLUMNS;
    const mp_tc_bracket_block block = {.group = j->model->group,
                                       .groups = j->padded_k / j->model->group,
                                       .rows = (count + MP_TC_BRACKET_ROWS - 1) / MP_TC_BRACKET_ROWS *
                                               MP_TC_BRACKET_ROWS,
                                       .a = s->rows + r0 * j->padded_k,
                                       .stride = j->padded_k,
                                       .w = s->panels + first * j->padded_k,
                                       .least = s->least,
                                       .sum = s->sum,
                                       .sizes = s->sizes};
    for (int64_t r = 0; r < block.rows; r++)
        multiply(s->row[r0 + r].power, &s->column[first], s->least + r * COLUMNS);
    memset(s->sum, 0, (size_t)(block.rows * COLUMNS) * sizeof *s->sum);
    memset(s->sizes, 0, (size_t)(block.rows * COLUMNS) * sizeof *s->sizes);
    j->kernel->run_bracket(&block);
    for (int64_t r = 0; r < count; r++) {
        const int64_t at = mp_gemm_f32_out_at(j->call, slot[r0 + r]);
        uint64_t *open = &s->open[r0 + r][panel];
        float low[COLUMNS], high[COLUMNS];
        uint16_t code[COLUMNS] = {0}, high_code[COLUMNS] = {0};
        *open = 0;
        if (at < 0) continue;
        ends(j, &s->row[r0 + r], &s->column[first], s->sum + r * COLUMNS, s->sizes + r * COLUMNS, low, high);
        stored(j, slot[r0 + r], first, n, low, code);
        stored(j, slot[r0 + r], first, n, high, high_code);
        *open = differing(code, high_code);
        memcpy((uint16_t *)j->call->out->data + at + j->task->n0 + first, code, (size_t)n * sizeof *code);
    }
}

/* ---- what they leave open ---- */

static float definition(const job *j, const uint16_t *a, const uint16_t *w) {
    for (int64_t k = 0; k < j->K; k++) {
        j->s->a_code[k] = a[k];
        j->s->w_code[k] = w[k];
    }
    return mp_float_of_bits(mp_tc_dot(j->model, j->K, j->s->a_code, j->s->w_code, 0));
}

MP_CLONES static void fill_lanes(const job *j, const uint16_t *const w[MP_TC_LANES]) {
    for (int64_t k = 0; k < j->padded_k; k += 8)
        for (int i = 0; i < MP_TC_LANES; i += 4) {
            const uint16_t *four[4];
            uint16_t copies[4][8];
            take_eight(4, w + i, k, j->K, copies, four);
            mp_transpose_pairs(four, MP_TC_LANES, j->s->lanes + k / 2 * MP_TC_LANES + i);
        }
}

/* `count` columns of a slot's row, MP_TC_LANES at most. */
static void take_steps(job *j, int64_t r, int64_t slot, int64_t count, const int64_t column[MP_TC_LANES]) {
    workspace *s = j->s;
    const uint16_t *w[MP_TC_LANES];
    float result[MP_TC_LANES];
    bool certain[MP_TC_LANES];
    for (int64_t i = 0; i < MP_TC_LANES; i++) w[i] = j->w + column[i < count ? i : 0] * j->K;
    fill_lanes(j, w);
    const mp_tc_lanes lanes = {.group = j->model->group,
                               .fraction_bits = j->model->fraction_bits,
                               .groups = j->padded_k / j->model->group,
                               .a = s->rows + r * j->padded_k,
                               .a_exponent = s->exponents,
                               .w = s->lanes};
    mp_tc_lanes_run(&lanes, result, certain);
    uint16_t *out = (uint16_t *)j->call->out->data + mp_gemm_f32_out_at(j->call, slot) + j->task->n0;
    for (int64_t i = 0; i < count; i++) {
        if (!certain[i] && (s->row[r].small || s->column[column[i]].small)) {
            result[i] = definition(j, row_codes(j, slot), w[i]);
            j->redone++;
        }
        stored(j, slot, column[i], 1, &result[i], &out[column[i]]);
    }
}

static void take_steps_of_row(job *j, int64_t r, int64_t slot) {
    int64_t column[MP_TC_LANES], count = 0;
    bool begun = false;
    for (int64_t panel = 0; panel * COLUMNS < j->task->n; panel++)
        for (uint64_t open = j->s->open[r][panel]; open; open &= open - 1) {
            if (!begun) mp_tc_lanes_exponents(j->padded_k, j->s->rows + r * j->padded_k, j->s->exponents);
            begun = true;
            column[count++] = panel * COLUMNS + __builtin_ctzll(open);
            if (count < MP_TC_LANES) continue;
            take_steps(j, r, slot, count, column);
            count = 0;
        }
    if (count > 0) take_steps(j, r, slot, count, column);
}

static int64_t count_open(const job *j, int64_t rows) {
    int64_t open = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t panel = 0; panel * COLUMNS < j->task->n; panel++)
            open += __builtin_popcountll(j->s->open[r][panel]);
    return open;
}

/* ---- a task ---- */

static job job_of(const mp_tc_kernel *kernel, const mp_tc_model *m, const mp_gemm_f32_call *call,
                  const mp_gemm_task *task, void *scratch) {
    const mp_tensor *w = call->problem->w.codes;
    const double slack = 1 + 0x1p-8;
    job j = {.kernel = kernel, .model = m, .call = call, .task = task, .K = w->dim[2]};
    j.padded_k = padded(j.K);
    j.s = workspace_of(scratch, j.padded_k);
    j.w = (const uint16_t *)w->data + (task->expert * w->dim[1] + task->n0) * j.K;
    for (int t = 0; t < TERMS; t++) {
        const int i = t % m->group;
        j.weight[t] = (float)(m->group - (i > 0 ? i : 1)); /* the first two are in all roundings */
    }
    j.of_sizes = (float)(slack * ((m->group + 1) * mp_power_of_two(-m->fraction_bits) + 0x1p-23 + 0x1p-24));
    j.of_norms = (float)(slack * 0x1p-24);
    return j;
}

bool mp_tc_bracket_task(const mp_tc_kernel *kernel, const mp_tc_model *model, const mp_gemm_f32_call *call,
                        const mp_gemm_task *task, void *scratch, mp_tc_counts *counts) {
    job j = job_of(kernel, model, call, task, scratch);
    int64_t opened = 0, all = 0;
    for (int64_t n = 0; n < task->n; n += COLUMNS)
        if (!pack_panel(&j, n, task->n - n < COLUMNS ? task->n - n : COLUMNS)) return false;
    for (int64_t i = 0; i < task->count; i += ROWS) {
        const int64_t *slot = call->order + task->first + i,
                      count = task->count - i < ROWS ? task->count - i : ROWS;
        for (int64_t r = 0; r < count; r++)
            if (!pack_row(&j, r, slot[r])) return false;
        for (int64_t r = count; r % MP_TC_BRACKET_ROWS != 0; r++) pack_zeros(&j, r);
        for (int64_t panel = 0; panel * COLUMNS < task->n; panel++)
            for (int64_t r = 0; r < count; r += BLOCK_ROWS)
                settle(&j, slot, r, count - r < BLOCK_ROWS ? count - r : BLOCK_ROWS, panel);
        opened += count_open(&j, count);
        all += count * task->n;
        if (opened * LEFT_OPEN > all) return false;
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
