/* SPDX-License-Identifier: Apache-2.0 */
#include "offload/screen.h"

#include "offload/rows.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_BYTES = 8 << 20 };

void mp_screening_plan(mp_screening *s, mp_grouped_gemm *g) {
    const mp_tensor *bias = s->asked->epilogue->bias;
    const int64_t columns = g->p->w.codes->dim[1],
                  numbers = MP_LANDINGS * (int64_t)(sizeof(mp_row_figures) / sizeof(double));
    const size_t row_bytes = 2 * (size_t)columns * sizeof(double);
    s->room_bytes = row_bytes > ROOM_BYTES ? row_bytes : ROOM_BYTES;
    g->beside = mp_offload_upload_bytes(g->o, s->asked->got) +
                (bias ? mp_offload_upload_bytes(g->o, bias) : 0) +
                (size_t)g->p->slots * sizeof(mp_screened_row);
    g->numbers = (int)((numbers + columns - 1) / columns);
    g->staying = MP_LANDINGS;
    g->landing_row_bytes = sizeof(mp_row_figures);
    g->landing_bytes = s->room_bytes;
}

mp_status mp_screening_prepare(mp_screening *s, const mp_grouped_gemm *g, mp_error *err) {
    mp_offload *o = g->o;
    mp_status status = MP_OK;
    s->figure_bytes = (size_t)g->limits.rows * sizeof(mp_row_figures);
    s->params = (mp_screen_params){.stored = s->asked->stored, .rule = s->asked->rule, .a = g->a, .w = g->w};
    MP_DO(mp_offload_bring_gemm(o, s->asked->got, s->asked->epilogue, &s->params.rows, err));
    MP_DO(mp_offload_stored_rows(o, &g->tasks, g->blocks, g->block_count, s->asked->epilogue,
                                 s->asked->got_row, err));
    MP_DO(mp_offload_reserve(o, &o->scratch[MP_SCRATCH_FIGURES], MP_LANDINGS * s->figure_bytes, err));
out:
    return status;
}

mp_status mp_screening_begin(mp_offload *o, const mp_screening *s, const mp_screened_piece *p,
                             mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const int64_t first = p->blocks[p->piece->begin].row, rows = p->piece->rows;
    const size_t bytes = (size_t)rows * sizeof(mp_row_figures);
    mp_screen_params params = s->params;
    mp_kernel kernel = {
        .texts = &mp_offload_texts, .source = "offload/device/screen.cu", .entry = "screen_gemm"};
    mp_status status = MP_OK;
    if (params.rule.block > 0) strcpy(kernel.options, "-DSCALED=1");
    params.value = p->sums;
    params.mass = p->sums + (size_t)(rows * p->piece->n) * sizeof(double);
    params.rows.row = o->scratch[MP_SCRATCH_SCREENED_ROWS].at + (size_t)first * sizeof(mp_screened_row);
    params.figures = o->scratch[MP_SCRATCH_FIGURES].at + (size_t)p->landing * s->figure_bytes;
    params.rows.count = rows;
    params.a_row = o->scratch[MP_SCRATCH_ROWS].at + (size_t)first * sizeof(int64_t);
    params.n0 = p->piece->n0;
    params.n = p->piece->n;
    MP_CU(cuMemsetD8Async(params.figures, 0xFF, bytes, o->stream));
    MP_DO(mp_offload_launch_kernel(o, &kernel, mp_blocks_in_turn(rows), MP_SCREEN_THREADS, &params, err));
    MP_CU(cuMemcpyDtoHAsync_v2(o->landing[p->landing], params.figures, bytes, o->stream));
    MP_CU(cuEventRecord(o->landed[p->landing], o->stream));
out:
    return status;
}

/* ---- visiting ---- */

/* What of a row is shown. */
enum { FIGURES, SUMS, BOTH };

typedef struct visiting {
    const mp_screened_piece *p;
    const mp_row_figures *figures; /* of the piece's rows */
    unsigned char *shown;          /* of each */
    mp_cross_check *check;
    mp_gemm_visit visit;
    void *ctx;
} visiting;

/* What is shown of each row. */
static void choose(const visiting *v) {
    const mp_piece *piece = v->p->piece;
    const int64_t first_row = v->p->blocks[piece->begin].row;
    int64_t first = -1, last = -1;
    for (int64_t r = 0; r < piece->rows; r++) {
        v->shown[r] = v->figures[r].passed == piece->n ? FIGURES : SUMS;
        if (v->shown[r] != FIGURES) continue;
        if (first < 0) first = r;
        last = r;
    }
    if (first >= 0) v->shown[first] = v->shown[last] = BOTH;
    for (int64_t i = piece->begin; i < piece->end; i++) {
        const mp_row_block *b = &v->p->blocks[i];
        for (int64_t r = 0; r < b->count; r++) {
            unsigned char *shown = &v->shown[b->row - first_row + r];
            if (*shown == FIGURES && mp_cross_check_has(v->check, v->p->order[b->first + r])) *shown = BOTH;
        }
    }
}

/* Rows begin .. end of the piece as tiles: those of which figures alone are shown, or the others, whose
 * values and masses lie at `sums` one behind the other. */
static void show(const visiting *v, int64_t begin, int64_t end, const double *sums) {
    enum { ROWS = 16 }; /* with sums, so that all cores have some */
    const mp_piece *piece = v->p->piece;
    const int64_t first_row = v->p->blocks[piece->begin].row;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = piece->begin; i < piece->end; i++) {
        const mp_row_block *b = &v->p->blocks[i];
        const int64_t at = b->row - first_row, from = at > begin ? at : begin,
                      to = at + b->count < end ? at + b->count : end;
        for (int64_t r = from, count; r < to; r += count) {
            count = 1;
            while (r + count < to && (!sums || count < ROWS) && v->shown[r + count] == v->shown[r]) count++;
            if ((v->shown[r] == FIGURES) != !sums) continue;
            mp_gemm_tile tile = {.expert = b->expert,
                                 .count = count,
                                 .n0 = piece->n0,
                                 .n = piece->n,
                                 .slot = v->p->order + b->first + (r - at),
                                 .figures = v->shown[r] == SUMS ? NULL : v->figures + r};
            if (sums) {
                tile.value = sums + (r - begin) * piece->n;
                tile.mass = tile.value + (end - begin) * piece->n;
                mp_cross_check_take(v->check, &tile);
            }
            v->visit(v->ctx, &tile);
        }
    }
}

/* The next rows from `begin` on whose sums travel, at most so many, with few others between them; their
 * end. */
static int64_t run_of(const visiting *v, int64_t *begin, int64_t most) {
    enum { GAP = 16 };
    const int64_t rows = v->p->piece->rows;
    while (*begin < rows && v->shown[*begin] == FIGURES) ++*begin;
    int64_t end = *begin;
    for (int64_t r = *begin; r < rows && r - *begin < most && r - end <= GAP; r++)
        if (v->shown[r] != FIGURES) end = r + 1;
    return end;
}

mp_status mp_screening_visit(mp_offload *o, const mp_screening *s, const mp_screened_piece *p,
                             mp_cross_check *check, mp_gemm_visit visit, void *ctx, mp_error *err) {
    const mp_driver *driver = o->cuda->driver;
    const int64_t rows = p->piece->rows, n = p->piece->n;
    double *room = (double *)((char *)o->landing[p->landing] + s->figure_bytes);
    const visiting v = {.p = p,
                        .figures = o->landing[p->landing],
                        .shown = malloc((size_t)rows),
                        .check = check,
                        .visit = visit,
                        .ctx = ctx};
    mp_status status = v.shown ? MP_OK : mp_fail(err, MP_EMEMORY, "no memory for %lld rows", (long long)rows);
    MP_DO(status);
    MP_CU(cuEventSynchronize(o->landed[p->landing]));
    choose(&v);
    show(&v, 0, rows, NULL);
    const int64_t most = (int64_t)(s->room_bytes / (2 * (size_t)n * sizeof(double)));
    for (int64_t begin = 0, end; (end = run_of(&v, &begin, most)) > begin; begin = end) {
        const size_t bytes = (size_t)((end - begin) * n) * sizeof(double);
        const CUdeviceptr value = p->sums + (size_t)(begin * n) * sizeof(double);
        MP_CU(cuMemcpyDtoH_v2(room, value, bytes)); /* not behind the next piece */
        MP_CU(cuMemcpyDtoH_v2(room + (end - begin) * n, value + (size_t)(rows * n) * sizeof(double), bytes));
        show(&v, begin, end, room);
    }
out:
    free(v.shown);
    return status;
}
