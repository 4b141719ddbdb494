/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of quantised experts: scales of another place, codes read or made wrongly. */
#include "tests/faults.h"

#include "cases/graph_tables.h"
#include "cases/scale_layout.h"
#include "ref/activation.h"
#include "ref/predict/activation_f32.h"
#include "ref/predict/quantise_f32.h"
#include "ref/quantise.h"

#include <math.h>
#include <string.h>

static const mp_tensor *tensor_of(const faulty_run *run, mp_tensor_id id) {
    return run->in->t[id].data ? &run->in->t[id] : &run->trace->t[id];
}

static mp_tensor copy_of(const faulty_run *run, mp_tensor_id id) {
    return copy_tensor(tensor_of(run, id));
}

/* ---- scales ---- */

/* The stride of experts is 0. */
void scale_of_expert_zero(const faulty_run *run) {
    mp_tensor scale = copy_of(run, MP_W1_SCALE);
    const size_t bytes = mp_tensor_bytes(&scale) / (size_t)run->c->E;
    for (int64_t e = 1; e < run->c->E; e++) memcpy((char *)scale.data + (size_t)e * bytes, scale.data, bytes);
    stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
}

/* Block b of a row of scales becomes that of block other(b). */
static void move_blocks(const faulty_run *run, int64_t (*other)(int64_t block, int64_t blocks)) {
    const mp_tensor *from = tensor_of(run, MP_W1_SCALE);
    mp_tensor scale = copy_tensor(from);
    const int64_t blocks = mp_tensor_row_length(from);
    for (int64_t i = 0; i < mp_tensor_count(from); i++) {
        const int64_t at = i / blocks * blocks + other(i % blocks, blocks);
        mp_encode(scale.dtype, scale.data, i, mp_decode(from->dtype, from->data, at));
    }
    stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
}

static int64_t next_block(int64_t block, int64_t blocks) {
    return (block + 1) % blocks;
}

void scale_of_the_next_block(const faulty_run *run) {
    move_blocks(run, next_block);
}

static int64_t first_of_two(int64_t block, int64_t blocks) {
    (void)blocks;
    return block / 2 * 2;
}

/* A tile of k that is two groups long has one scale. */
void tile_of_two_groups(const faulty_run *run) {
    move_blocks(run, first_of_two);
}

void gate_and_up_scales_swapped(const faulty_run *run) {
    mp_tensor scale = copy_of(run, MP_W1_GLOBAL_SCALE);
    float *global = scale.data;
    for (int64_t e = 0; e < run->c->E; e++) {
        const float gate = global[2 * e];
        global[2 * e] = global[2 * e + 1];
        global[2 * e + 1] = gate;
    }
    stage_reads(run, MP_GATE_UP, MP_W1_GLOBAL_SCALE, &scale);
}

void scale_of_the_next_token(const faulty_run *run) {
    const mp_tensor *from = tensor_of(run, MP_X_SCALE);
    mp_tensor scale = copy_tensor(from);
    for (int64_t m = 0; m < run->c->M; m++)
        memcpy(mp_tensor_row(&scale, m), mp_tensor_row(from, (m + 1) % run->c->M), mp_tensor_row_bytes(from));
    stage_reads(run, MP_GATE_UP, MP_X_SCALE, &scale);
}

/* ---- scales in another layout ---- */

/* Matrix, row and column of an element of scales. */
typedef struct scale_at {
    int64_t matrix, row, column;
} scale_at;

/* Where a kernel looks for a scale, in elements from the first; place: where they lie. */
typedef int64_t where_fn(const mp_placement *place, const mp_tensor *scale, scale_at at);

/* w1's scales as it finds them there. */
static void read_scales(const faulty_run *run, where_fn *where) {
    const mp_tensor *given = &run->as_given[MP_W1_SCALE];
    const mp_placement place = mp_case_placement(run->c, MP_W1_SCALE, given);
    const int64_t rows = given->dim[1], columns = given->dim[2];
    mp_tensor scale = copy_of(run, MP_W1_SCALE);
    for (int64_t i = 0; i < mp_tensor_count(given); i++) {
        const scale_at at = {i / columns / rows, i / columns % rows, i % columns};
        mp_encode(scale.dtype, scale.data, i, mp_decode(given->dtype, given->data, where(&place, given, at)));
    }
    stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
}

static int64_t by_packed_rows(const mp_placement *place, const mp_tensor *scale, scale_at at) {
    (void)place;
    return (at.matrix * scale->dim[1] + at.row) * scale->dim[2] + at.column;
}

void scales_taken_for_packed_rows(const faulty_run *run) {
    if (!mp_case_placement(run->c, MP_W1_SCALE, &run->as_given[MP_W1_SCALE]).swizzled)
        read_scales(run, by_packed_rows);
}

/* The first tiles of an expert lie behind as many rows as it has, without the padding of the last tile. */
static int64_t by_rows_without_padding(const mp_placement *place, const mp_tensor *scale, scale_at at) {
    return at.matrix * scale->dim[1] * place->dim[2] + mp_swizzled_index(at.row, at.column, scale->dim[2]);
}

void swizzled_without_padding(const faulty_run *run) {
    if (run->c->scale_layout == MP_SWIZZLED) read_scales(run, by_rows_without_padding);
}

/* The codes of the last tile of k are masked, and their products with the scales behind are not. */
void padding_times_zero(const faulty_run *run) {
    const mp_tensor *given = &run->as_given[MP_W1_SCALE];
    const mp_placement place = mp_case_placement(run->c, MP_W1_SCALE, given);
    const int64_t rows = given->dim[1], columns = given->dim[2];
    if (run->c->scale_layout != MP_SWIZZLED || columns == place.dim[2]) return;
    mp_tensor scale = copy_of(run, MP_W1_SCALE);
    for (int64_t i = 0; i < given->dim[0] * rows; i++) {
        const int64_t last = (i + 1) * columns - 1;
        const int64_t at = i / rows * place.stride[0] + mp_swizzled_index(i % rows, columns, columns);
        const double behind = mp_decode(given->dtype, given->data, at);
        mp_encode(scale.dtype, scale.data, last, mp_decode(scale.dtype, scale.data, last) + 0 * behind);
    }
    stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
}

/* A quantiser that stores a whole vector of scales. */
void scales_written_into_gap(const faulty_run *run) {
    const mp_tensor *given = &run->as_given[MP_X_SCALE];
    if (run->c->scale_layout == MP_ROW_MAJOR_PADDED) mp_encode(given->dtype, given->data, given->dim[1], 0);
}

/* The scales that quant_x made, by rows of the tensor that has them by columns. */
void scales_made_by_rows(const faulty_run *run) {
    const mp_tensor *scale = &run->trace->t[MP_X_SCALE];
    mp_tensor made = copy_tensor(scale);
    const int64_t rows = scale->dim[0], columns = scale->dim[1];
    if (run->c->scale_layout == MP_COLUMN_MAJOR) {
        for (int64_t i = 0; i < rows * columns; i++)
            mp_encode(scale->dtype, scale->data, i % rows * columns + i / rows,
                      mp_decode(made.dtype, made.data, i));
        redo_behind(run, MP_QUANT_X);
    }
    mp_tensor_free(&made);
}

/* All experts' scales are read, and those of the others multiplied by zero. */
void scale_of_unused_expert(const faulty_run *run) {
    mp_tensor scale = copy_of(run, MP_W1_SCALE);
    const int64_t of_expert = mp_tensor_count(&scale) / run->c->E;
    double others = 0;
    for (int64_t i = 0; i < mp_tensor_count(&scale); i++) others += 0 * mp_decode(scale.dtype, scale.data, i);
    for (int64_t e = 0; e < run->c->E; e++)
        for (int64_t i = 0; i < of_expert; i++)
            mp_encode(scale.dtype, scale.data, e * of_expert + i,
                      mp_decode(scale.dtype, scale.data, e * of_expert + i) + others);
    if (isnan(others))
        stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
    else
        mp_tensor_free(&scale); /* nothing changes */
}

/* ---- scales at their limits ---- */

static void change_scales(const faulty_run *run, bool (*is)(double scale), double instead) {
    mp_tensor scale = copy_of(run, MP_W1_SCALE);
    for (int64_t i = 0; i < mp_tensor_count(&scale); i++)
        if (is(mp_decode(scale.dtype, scale.data, i))) mp_encode(scale.dtype, scale.data, i, instead);
    stage_reads(run, MP_GATE_UP, MP_W1_SCALE, &scale);
}

static bool is_zero(double scale) {
    return scale == 0;
}

static bool is_subnormal_e4m3(double scale) {
    return scale < 0x1p-6;
}

static bool is_nan(double scale) {
    return isnan(scale);
}

static bool is_smallest_power(double scale) {
    return scale == 0x1p-127;
}

void scale_of_zero_is_one(const faulty_run *run) {
    change_scales(run, is_zero, 1);
}

void subnormal_scales_are_zero(const faulty_run *run) {
    change_scales(run, is_subnormal_e4m3, 0);
}

/* The byte 255 as if it were no scale. */
void nan_scale_is_one(const faulty_run *run) {
    change_scales(run, is_nan, 1);
}

/* The byte 0 as if it were no scale. */
void smallest_scale_is_one(const faulty_run *run) {
    change_scales(run, is_smallest_power, 1);
}

/* ---- codes that are read ---- */

void zero_point_off_by_one(const faulty_run *run) {
    mp_tensor zero = copy_of(run, MP_W1_ZERO);
    uint8_t *bytes = zero.data;
    for (int64_t i = 0; i < mp_tensor_count(&zero); i++) bytes[i] ^= 0x11; /* 7 for 6, and the reverse */
    stage_reads(run, MP_GATE_UP, MP_W1_ZERO, &zero);
}

void nibbles_swapped(const faulty_run *run) {
    mp_tensor w1 = copy_of(run, MP_W1);
    uint8_t *bytes = w1.data;
    for (size_t i = 0; i < mp_tensor_bytes(&w1); i++) bytes[i] = (uint8_t)(bytes[i] << 4 | bytes[i] >> 4);
    stage_reads(run, MP_GATE_UP, MP_W1, &w1);
}

/* ---- codes that are made ---- */

typedef uint64_t code_fn(mp_dtype codes, double v);

/* The codes of the stage anew, by another rounding of number / scale; groups are whole rows. */
static void remake_codes(const faulty_run *run, mp_stage stage, const mp_tensor *scale, code_fn *code) {
    const bool of_x = stage == MP_QUANT_X;
    const mp_tensor *from = tensor_of(run, of_x ? MP_X : MP_CACHE2),
                    *codes = &run->trace->t[of_x ? MP_X_CODES : MP_CACHE2_CODES];
    const int64_t width = mp_tensor_row_length(from), scales = mp_tensor_count(scale);
    for (int64_t i = 0; i < mp_tensor_count(from); i++) {
        const double s = mp_decode(scale->dtype, scale->data, scales == 1 ? 0 : i / width);
        if (!of_x && ids_of(run)[i / width] < 0) continue;
        mp_put_code(codes->dtype, codes->data, i,
                    code(codes->dtype, mp_decode(from->dtype, from->data, i) / s));
    }
    redo_behind(run, stage);
}

static uint64_t saturating(mp_dtype codes, double v) {
    (void)codes;
    return mp_encode_e4m3_saturate(v);
}

void codes_are_cut(const faulty_run *run) {
    remake_codes(run, MP_QUANT_X, tensor_of(run, MP_X_SCALE), mp_encode_truncated);
}

/* What is beyond the largest code becomes NaN. */
void codes_are_not_held(const faulty_run *run) {
    remake_codes(run, MP_QUANT_X, tensor_of(run, MP_X_GIVEN_SCALE), mp_encode_code);
}

/* The largest magnitude is that of filtered rows: codes fit the scale, which is not that of the rest. */
void amax_of_other_rows(const faulty_run *run) {
    float *scale = run->trace->t[MP_CACHE2_TENSOR_SCALE].data;
    *scale *= 1.5f;
    remake_codes(run, MP_QUANT_ACT, &run->trace->t[MP_CACHE2_TENSOR_SCALE], saturating);
}

/* By the product with 1/448, which is rounded, instead of a division. */
void scale_by_a_reciprocal(const faulty_run *run) {
    const mp_tensor *scale = &run->trace->t[MP_X_SCALE];
    float *s = scale->data;
    for (int64_t i = 0; i < mp_tensor_count(scale); i++) s[i] = s[i] * 448.0f * (1 / 448.0f);
    remake_codes(run, MP_QUANT_X, scale, saturating);
}

static uint64_t halves_away(mp_dtype codes, double v) {
    return mp_encode_code(codes, round(v));
}

void ties_away_from_zero(const faulty_run *run) {
    remake_codes(run, MP_QUANT_X, tensor_of(run, MP_X_SCALE), halves_away);
}

static double amax_of_row(const mp_tensor *t, int64_t row) {
    const int64_t width = mp_tensor_row_length(t);
    double amax = 0;
    for (int64_t k = 0; k < width; k++)
        amax = fmax(amax, fabs(mp_decode(t->dtype, t->data, row * width + k)));
    return amax;
}

/* 0/0. */
void rows_of_zeros_are_nan(const faulty_run *run) {
    const mp_tensor *x = tensor_of(run, MP_X), *codes = &run->trace->t[MP_X_CODES];
    for (int64_t m = 0; m < run->c->M; m++)
        if (amax_of_row(x, m) == 0) memset(mp_tensor_row(codes, m), 0x7F, mp_tensor_row_bytes(codes));
    redo_behind(run, MP_QUANT_X);
}

/* The exponent of a scale, and 1 more where nothing of it is left over, too; groups are whole rows. */
void powers_are_doubled(const faulty_run *run) {
    const mp_tensor *scale = &run->trace->t[MP_X_SCALE];
    uint8_t *bytes = scale->data;
    for (int64_t m = 0; m < run->c->M; m++) {
        int exponent;
        if (frexp(amax_of_row(tensor_of(run, MP_X), m) / 448, &exponent) == 0.5) bytes[m]++;
    }
    remake_codes(run, MP_QUANT_X, scale, saturating);
}

/* ---- act and its quantiser as one kernel; a scale a row, e4m3 ---- */

void scales_of_the_next_slot(const faulty_run *run) {
    const mp_tensor *scale = &run->trace->t[MP_CACHE2_SCALE];
    mp_tensor made = copy_tensor(scale);
    for (int64_t t = 0; t < mp_case_slots(run->c); t++)
        mp_encode(scale->dtype, scale->data, t,
                  mp_decode(made.dtype, made.data, (t + 1) % mp_case_slots(run->c)));
    mp_tensor_free(&made);
    redo_behind(run, MP_QUANT_ACT);
}

/* Float32 becomes codes without the rounding to the model's format between. */
void unrounded_numbers_become_codes(const faulty_run *run) {
    const mp_case *c = run->c;
    const mp_tensor *cache1 = tensor_of(run, MP_CACHE1);
    float *scale = run->trace->t[MP_CACHE2_SCALE].data, row[256];
    uint8_t *codes = run->trace->t[MP_CACHE2_CODES].data;
    if (c->N > 256 || !c->gated || c->layout != MP_ROUTE) return;
    for (int64_t t = 0; t < mp_case_slots(c); t++) {
        float amax = 0;
        if (ids_of(run)[t] < 0) continue;
        for (int64_t n = 0; n < c->N; n++) {
            const int64_t at = t * mp_case_w1_rows(c);
            const double gate = mp_decode(cache1->dtype, cache1->data, at + mp_gate_column(c, n)),
                         up = mp_decode(cache1->dtype, cache1->data, at + mp_up_column(c, n));
            row[n] =
                mp_activate_f32((int)c->act, true, (float)gate, (float)up, (float)c->alpha, (float)c->limit);
            amax = mp_quant_amax_f32(amax, row[n]);
        }
        scale[t] = mp_quant_scale_f32(amax, 448);
        for (int64_t n = 0; n < c->N; n++)
            codes[t * c->N + n] = (uint8_t)mp_quant_e4m3_f32(row[n] / scale[t]);
    }
    redo_behind(run, MP_QUANT_ACT);
}
