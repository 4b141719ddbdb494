/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/gemm/gemm.h"

#include "cases/scheme.h"
#include "kernels/gemm/kind.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The first that multiplies a request does. */
static mp_gemm_kind *const kinds[] = {mp_gemm_wgmma, mp_gemm_mma, mp_gemm_fma, mp_gemm_of_codes,
                                      mp_gemm_dequant};

/* ---- the frame ---- */

static mp_dtype format_of_a(const mp_gemm_request *r) {
    return r->codes.present ? r->codes.a : r->dtype;
}

static mp_dtype format_of_w(const mp_gemm_request *r) {
    return r->codes.present ? r->codes.w : r->dtype;
}

/* The stages' tiles of a and w, then the row tables. */
static int64_t shared_bytes(const mp_gemm_request *r, int stages) {
    const int64_t k = r->tile.block_size_k;
    const int64_t stage = (int64_t)mp_dtype_bytes(format_of_a(r), r->tile.block_size_m * k) +
                          (int64_t)mp_dtype_bytes(format_of_w(r), r->tile.block_size_n * k);
    const int64_t row_table = 8 + 8 + 4; /* row of a, row of out, router weight */
    return stages * stage + r->tile.block_size_m * row_table;
}

/* Sums of the busiest thread, in warps that share the block as gemm_warps.cuh does: by halves, as long as
 * these are multiples of 16. */
static int accumulators(const mp_tile *tile) {
    const int rows = tile->block_size_m / 16, parts = rows & -rows,
              warp_tiles = parts * (tile->block_size_n / 16);
    const int warps = tile->num_warps < warp_tiles ? tile->num_warps : warp_tiles;
    return tile->block_size_m * tile->block_size_n / (32 * warps);
}

/* Whether so many elements are whole chunks of 16 bytes. */
static bool is_whole(mp_dtype dtype, int64_t elements) {
    return elements * mp_dtype_bits(dtype) % 128 == 0;
}

bool mp_gemm_is_aligned(const mp_gemm_request *r) {
    return is_whole(format_of_a(r), r->row_length) && is_whole(format_of_w(r), r->row_length) &&
           !r->unaligned;
}

__attribute__((format(printf, 2, 3))) static void add_options(mp_kernel *kernel, const char *format, ...) {
    const size_t length = strlen(kernel->options);
    va_list args;
    va_start(args, format);
    vsnprintf(kernel->options + length, sizeof kernel->options - length, format, args);
    va_end(args);
}

static void add_codes(mp_kernel *kernel, const mp_gemm_codes *codes) {
    add_options(kernel,
                " -DA_DTYPE=%d -DW_DTYPE=%d -DA_SCALE=%d -DW_SCALE=%d -DGROUP=%lld -DZERO=%d -DZEROS=%d",
                (int)codes->a, (int)codes->w, (int)codes->a_scale, (int)codes->w_scale,
                (long long)codes->group, codes->zero, codes->zeros);
}

mp_gemm mp_gemm_of_source(const char *source, const mp_gemm_request *r, int stages) {
    const mp_tile *tile = &r->tile;
    mp_gemm gemm = {
        .kernel = mp_make_kernel(source, "grouped_gemm",
                                 "-DBLOCK_M=%d -DBLOCK_N=%d -DBLOCK_K=%d -DWARPS=%d -DSTAGES=%d -DDTYPE=%d "
                                 "-DALIGNED=%d -DATOMIC=%d",
                                 tile->block_size_m, tile->block_size_n, tile->block_size_k, tile->num_warps,
                                 stages, (int)r->dtype, mp_gemm_is_aligned(r), r->atomic),
        .tile = *tile,
        .threads = 32 * tile->num_warps,
        .stages = stages,
    };
    if (r->codes.present) add_codes(&gemm.kernel, &r->codes);
    if (r->swizzled) add_options(&gemm.kernel, " -DSWIZZLED=1");
    if (r->adapters) add_options(&gemm.kernel, " -DADAPTERS=1 -DADDS=%d", r->adds);
    return gemm;
}

mp_gemm mp_gemm_in_frame(const char *source, const mp_gemm_request *r, const mp_device_limits *limits) {
    int stages = r->tile.num_stages;
    if (stages > 1 && shared_bytes(r, stages) > limits->shared_bytes) stages--;
    mp_gemm gemm = mp_gemm_of_source(source, r, stages);
    gemm.shared_bytes = shared_bytes(r, stages);
    gemm.accumulators = accumulators(&r->tile);
    return gemm;
}

/* ---- requests ---- */

static mp_gemm_codes codes_of(const mp_case *c, bool down) {
    const mp_scheme *s = mp_scheme_of(c);
    if (!c->quant) return (mp_gemm_codes){0};
    return (mp_gemm_codes){
        .present = true,
        .a = s->quantises_activations ? mp_quantiser_codes(s->quantiser) : c->dtype,
        .w = s->weight,
        .a_scale = mp_quantiser_scale(s->quantiser),
        .w_scale = mp_case_dtype(c, down ? MP_W2_SCALE : MP_W1_SCALE),
        .group = s->enters == MP_SCALES_AFTER ? 0 : mp_case_group(c),
        .zero = s->zero,
        .zeros = s->zeros,
    };
}

mp_gemm_request mp_gemm_of_case(const mp_case *c, const mp_config *config, mp_stage stage) {
    const bool down = stage == MP_DOWN;
    const mp_tensor_id w = down ? MP_W2 : MP_W1;
    const mp_tensor shape = mp_case_shape(c, w, 16);
    int64_t stride[MP_MAX_RANK];
    mp_case_strides(c, w, &shape, stride);
    mp_gemm_request request = {
        .tile = down ? config->down : config->up,
        .dtype = c->dtype,
        .codes = codes_of(c, down),
        .row_length = down ? c->N : c->K,
        .columns = down ? c->K : mp_case_w1_rows(c),
        .swizzled = c->scale_layout == MP_SWIZZLED,
        .experts = c->E,
        .w_scale_rows = mp_scheme_of(c)->block_rows == MP_WHOLE_AXIS ? 0 : mp_scheme_of(c)->block_rows,
        .choice = c->gemm,
        .any_tile = !config->tile_named,
        .atomic = down && c->fused_sum,
    };
    const mp_dtype of_w = format_of_w(&request);
    request.unaligned = !is_whole(format_of_a(&request), c->buffer_offset) ||
                        !is_whole(of_w, c->buffer_offset) || !is_whole(of_w, stride[0]) ||
                        !is_whole(of_w, stride[1]);
    return request;
}

static mp_status check(const mp_gemm_request *r, const mp_device_limits *limits, const mp_gemm *gemm,
                       mp_error *err) {
    char tile[64];
    mp_tile_text(&r->tile, tile);
    if (gemm->instruction && !mp_mma_supported(limits->architecture, gemm->instruction))
        return mp_fail(err, MP_EUNSUPPORTED, "%s of %s does not exist on sm_%d",
                       gemm->instruction->wgmma ? "wgmma" : "mma.sync", gemm->instruction->type,
                       limits->architecture);
    if (gemm->shared_bytes > limits->shared_bytes)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tile %s needs %lld bytes of shared memory in %s, a block on this sm_%d can have %lld",
                       tile, (long long)gemm->shared_bytes, mp_dtype_name(r->dtype), limits->architecture,
                       (long long)limits->shared_bytes);
    if (gemm->accumulators > MP_GEMM_ACCUMULATORS_MAX)
        return mp_fail(err, MP_EUNSUPPORTED,
                       "tile %s needs %d accumulators a thread, which has 255 registers", tile,
                       gemm->accumulators);
    return MP_OK;
}

mp_status mp_gemm_find(const mp_gemm_request *r, const mp_device_limits *limits, mp_gemm *gemm,
                       mp_error *err) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const bool wgmma = kinds[i] == mp_gemm_wgmma;
        if ((wgmma && r->choice == MP_GEMM_MMA) || (!wgmma && r->choice == MP_GEMM_WGMMA)) continue;
        if (kinds[i](r, limits, gemm)) return check(r, limits, gemm, err);
    }
    if (r->choice == MP_GEMM_WGMMA) return mp_gemm_no_wgmma(r, limits, err);
    return r->codes.present
               ? mp_fail(err, MP_EUNSUPPORTED, "there is no grouped GEMM of %s and %s for %s",
                         mp_dtype_name(r->codes.a), mp_dtype_name(r->codes.w), mp_dtype_name(r->dtype))
               : mp_fail(err, MP_EUNSUPPORTED, "there is no grouped GEMM of %s", mp_dtype_name(r->dtype));
}
