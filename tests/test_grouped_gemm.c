/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of grouped GEMM: which one a request gets, what it costs, and when there is none; and what a case
 * compiles. No GPU, no NVRTC. */
#include "cases/case_tools.h"
#include "harness/probe/probe.h"
#include "kernels/gemm/gemm.h"
#include "kernels/jit.h"
#include "kernels/stages.h"
#include "moeparity/preset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const mp_device_limits h100 = {.architecture = 90, .shared_bytes = 232448}; /* 227 KiB */

static mp_gemm found(const mp_gemm_request *request, const mp_device_limits *limits) {
    mp_gemm gemm;
    mp_error err = {0};
    if (mp_gemm_find(request, limits, &gemm, &err) != MP_OK) fail_msg("%s", err.text);
    return gemm;
}

static void refused(const mp_gemm_request *request, const mp_device_limits *limits, const char *text) {
    mp_gemm gemm;
    mp_error err = {0};
    assert_int_equal(mp_gemm_find(request, limits, &gemm, &err), MP_EUNSUPPORTED);
    if (!strstr(err.text, text)) fail_msg("'%s' is not in: %s", text, err.text);
}

static void every_dtype_has_its_kind(void **state) {
    (void)state;
    static const struct {
        mp_dtype dtype;
        const char *source, *type;
    } rows[] = {{MP_BF16, "kernels/device/gemm_mma.cu", "bf16"},
                {MP_FP16, "kernels/device/gemm_mma.cu", "f16"},
                {MP_FP32, "kernels/device/gemm_fma.cu", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_gemm_request request = {
            .tile = {64, 64, 32, 8, 4, 3}, .dtype = rows[i].dtype, .row_length = 512};
        const mp_gemm gemm = found(&request, &h100);
        bool embedded = false;
        for (int f = 0; f < mp_kernel_texts.count; f++)
            embedded |= strcmp(mp_kernel_texts.files[f].name, gemm.kernel.source) == 0;
        assert_true(embedded);
        assert_string_equal(gemm.kernel.source, rows[i].source);
        assert_int_equal(gemm.threads, 128);
        assert_int_equal(gemm.accumulators, 32);
        assert_int_equal(gemm.shared_bytes,
                         3 * (64 + 64) * 32 * (int64_t)mp_dtype_size(rows[i].dtype) + 64 * 20);
        assert_int_equal(gemm.instruction != NULL, rows[i].type != NULL);
        if (rows[i].type) assert_string_equal(gemm.instruction->type, rows[i].type);
    }
    refused(&(mp_gemm_request){.tile = {64, 64, 32, 8, 4, 3}, .dtype = MP_FP64, .row_length = 512}, &h100,
            "no grouped GEMM of fp64");
}

static void codes_have_their_kinds(void **state) {
    (void)state;
    static const struct {
        mp_gemm_codes codes;
        const char *source, *type;
        int accumulators;
        int64_t bytes; /* of a stage's tiles, 64 rows and 64 columns by 64 */
    } rows[] = {
        {{true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 128, 0, false},
         "kernels/device/gemm_codes.cu",
         "e4m3",
         64,
         8192},
        {{true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 0, 0, false},
         "kernels/device/gemm_codes.cu",
         "e4m3",
         32,
         8192},
        {{true, MP_I8, MP_I8, MP_FP32, MP_FP32, 0, 0, false}, "kernels/device/gemm_codes.cu", "s8", 32, 8192},
        {{true, MP_BF16, MP_I8, MP_FP32, MP_FP32, 0, 0, false},
         "kernels/device/gemm_dequant.cu",
         "bf16",
         32,
         12288},
        {{true, MP_BF16, MP_U4, MP_FP32, MP_BF16, 64, 8, true},
         "kernels/device/gemm_dequant.cu",
         "bf16",
         32,
         10240},
        {{true, MP_BF16, MP_E2M1, MP_FP32, MP_UE8M0, 32, 0, false},
         "kernels/device/gemm_dequant.cu",
         "bf16",
         32,
         10240},
    };
    mp_gemm_request request = {.tile = {64, 64, 64, 8, 4, 3}, .dtype = MP_BF16, .row_length = 512};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        request.codes = rows[i].codes;
        const mp_gemm gemm = found(&request, &h100);
        assert_string_equal(gemm.kernel.source, rows[i].source);
        assert_string_equal(gemm.instruction->type, rows[i].type);
        assert_int_equal(gemm.accumulators, rows[i].accumulators);
        assert_int_equal(gemm.shared_bytes, 3 * rows[i].bytes + 64 * 20);
    }
    /* Rows of 24 bytes are no whole chunks: of 48 uint4 codes, though 48 bf16 would be. */
    request.codes = rows[4].codes;
    request.row_length = 48;
    assert_non_null(strstr(found(&request, &h100).kernel.options, "-DALIGNED=0"));
    request.row_length = 64;
    assert_non_null(strstr(found(&request, &h100).kernel.options, "-DALIGNED=1"));
    request.codes = (mp_gemm_codes){true, MP_E4M3, MP_I8, MP_FP32, MP_FP32, 0, 0, false};
    refused(&request, &h100, "no grouped GEMM of e4m3 and int8");
    request.dtype = MP_FP32; /* fmaf multiplies numbers, and no codes */
    request.codes = (mp_gemm_codes){true, MP_FP32, MP_I8, MP_FP32, MP_FP32, 0, 0, false};
    refused(&request, &h100, "no grouped GEMM of fp32 and int8 for fp32");
    request.dtype = MP_BF16;
    request.codes = rows[0].codes;
    refused(&request, &(mp_device_limits){.architecture = 80, .shared_bytes = 232448},
            "does not exist on sm_80");
}

/* By itself wgmma is chosen where it can, mma elsewhere; asked for, it is told what is missing. */
static void wgmma_takes_what_it_can(void **state) {
    (void)state;
    const mp_device_limits a100 = {.architecture = 80, .shared_bytes = 166912},
                           b200 = {.architecture = 100, .shared_bytes = 232448};
    const mp_gemm_request good = {
        .tile = {128, 256, 64, 8, 8, 4}, .dtype = MP_BF16, .row_length = 512, .columns = 520, .experts = 8};
    static const char *const mma = "kernels/device/gemm_mma.cu", *const wgmma =
                                                                     "kernels/device/gemm_wgmma.cu";
    mp_gemm_request r = good;
    const mp_gemm gemm = found(&r, &h100);
    assert_string_equal(gemm.kernel.source, wgmma);
    assert_true(gemm.cluster == 2 && gemm.instruction->wgmma);
    assert_int_equal(gemm.threads, 384);
    assert_int_equal(gemm.stages, 4);
    assert_int_equal(gemm.accumulators, 128);
    assert_in_range(gemm.shared_bytes, 4 * (128 + 256) * 64 * 2, h100.shared_bytes);
    r.dtype = MP_FP16;
    assert_string_equal(found(&r, &h100).instruction->type, "f16");
    assert_string_equal(found(&r, &a100).kernel.source, mma);
    assert_string_equal(found(&r, &b200).kernel.source, mma);
    /* Where rows of out are no whole chunks, none of them is kept to be stored whole. */
    assert_true(gemm.w_interleaved && strstr(gemm.kernel.options, "-DROWS_FIRST=1"));
    r.columns = 516;
    const mp_gemm odd = found(&r, &h100);
    assert_true(!odd.w_interleaved && odd.cluster == 2 && strstr(odd.kernel.options, "-DROWS_FIRST=0"));
    r.columns = good.columns;
    r.tile.block_size_m = 64;
    assert_int_equal(found(&r, &h100).cluster, 1);
    assert_false(found(&r, &h100).w_interleaved);
    r.tile.block_size_m = 144;
    assert_int_equal(found(&r, &h100).accumulators, 144);
    assert_int_equal(found(&r, &h100).cluster, 2);
    assert_false(found(&r, &h100).w_interleaved);
    r.tile.block_size_m = 64;
    r.choice = MP_GEMM_MMA;
    assert_string_equal(found(&r, &h100).kernel.source, mma);
    assert_int_equal(found(&r, &h100).cluster, 0);
    r.tile =
        (mp_tile){144, 32, 64, 8, 8, 3}; /* two warps share it, by columns: half of 144 rows is no tile */
    assert_int_equal(found(&r, &h100).accumulators, 144 * 32 / 64);
    r.tile = (mp_tile){64, 256, 64, 8, 8, 4};
    r.choice = MP_GEMM_WGMMA;
    assert_string_equal(found(&r, &h100).kernel.source, wgmma);
    refused(&r, &a100, "gemm=wgmma on sm_80 in tile 64x256x64x8x8x4: expected sm_90");

    const struct {
        mp_gemm_request request;
        const char *missing;
    } rows[] = {
        {{.tile = good.tile, .dtype = MP_FP32, .row_length = 512}, "bf16 or fp16"},
        {{.tile = good.tile, .dtype = MP_BF16, .row_length = 516}, "rows that begin on 16 bytes"},
        {{.tile = good.tile, .dtype = MP_BF16, .row_length = 512, .unaligned = true},
         "rows that begin on 16 bytes"},
        {{.tile = good.tile, .dtype = MP_BF16, .row_length = 512, .atomic = true}, "stored"},
        {{.tile = good.tile, .dtype = MP_BF16, .row_length = 512, .adapters = true}, "one list"},
        {{.tile = {256, 64, 64, 8, 8, 3}, .dtype = MP_BF16, .row_length = 512}, "BLOCK_SIZE_M at most"},
        {{.tile = {144, 64, 128, 8, 8, 3},
          .dtype = MP_BF16,
          .row_length = 512,
          .codes = {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 128, 0, false}},
         "BLOCK_SIZE_M at most 128"},
        {{.tile = {64, 64, 64, 8, 2, 4}, .dtype = MP_BF16, .row_length = 512}, "num_warps 4 or 8"},
        {{.tile = {64, 64, 64, 8, 8, 4}, .dtype = MP_BF16, .row_length = 512}, "16 * num_warps"},
        {{.tile = {64, 64, 32, 8, 4, 4}, .dtype = MP_BF16, .row_length = 512}, "multiple of 128 bytes"},
        {{.tile = {128, 256, 64, 8, 4, 4}, .dtype = MP_BF16, .row_length = 512}, "at most 128 sums"},
        {{.tile = {64, 64, 64, 8, 4, 1}, .dtype = MP_BF16, .row_length = 512}, "num_stages 2"},
        {{.tile = {128, 256, 256, 8, 8, 2}, .dtype = MP_BF16, .row_length = 512}, "stages that fit"},
        {{.tile = {128, 256, 64, 8, 8, 6}, .dtype = MP_BF16, .row_length = 512}, "stages that fit"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r = rows[i].request;
        r.choice = MP_GEMM_WGMMA;
        refused(&r, &h100, rows[i].missing);
        r.choice = MP_GEMM_AUTO;
        mp_gemm other;
        const bool is_found = mp_gemm_find(&r, &h100, &other, NULL) == MP_OK;
        assert_true(!is_found || strcmp(other.kernel.source, wgmma) != 0);
    }
}

/* A tile that nobody named is wgmma's to choose where the matrices are large, or it is asked for; but for
 * BLOCK_SIZE_M, by which slots are sorted. */
static void wgmma_has_tiles_of_its_own(void **state) {
    (void)state;
    static const char *const mma = "kernels/device/gemm_mma.cu", *const wgmma =
                                                                     "kernels/device/gemm_wgmma.cu";
    const mp_device_limits a100 = {.architecture = 80, .shared_bytes = 166912};
    static const mp_tile defaults[] = {{16, 32, 64, 1, 4, 3}, {64, 64, 32, 8, 4, 3}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        const mp_gemm_request large = {.tile = defaults[i],
                                       .dtype = MP_BF16,
                                       .row_length = 2048,
                                       .columns = 1536,
                                       .experts = 8,
                                       .any_tile = true};
        mp_gemm_request r = large;
        mp_gemm gemm = found(&r, &h100);
        assert_string_equal(gemm.kernel.source, wgmma);
        assert_int_equal(gemm.tile.block_size_m, defaults[i].block_size_m);
        assert_int_equal(gemm.tile.block_size_k, 64);
        assert_int_equal(gemm.stages, gemm.tile.num_stages);
        assert_false(mp_tile_same(&gemm.tile, &defaults[i]));
        assert_true(mp_tile_same(&r.tile, &defaults[i]));
        r.codes = (mp_gemm_codes){true, MP_I8, MP_I8, MP_FP32, MP_FP32, 0, 0, false};
        assert_int_equal(found(&r, &h100).tile.block_size_k, 128);
        r.codes = (mp_gemm_codes){true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 128, 0, false};
        r.w_scale_rows = 128;
        assert_string_equal(found(&r, &h100).kernel.source, "kernels/device/gemm_codes.cu");
        r.choice = MP_GEMM_WGMMA;
        assert_string_equal(found(&r, &h100).kernel.source, wgmma);

        r = large;
        r.columns = 256, r.row_length = 128;
        gemm = found(&r, &h100);
        assert_string_equal(gemm.kernel.source, mma);
        assert_true(mp_tile_same(&gemm.tile, &defaults[i]));
        r.choice = MP_GEMM_WGMMA;
        assert_string_equal(found(&r, &h100).kernel.source, wgmma);
        mp_gemm_request other[] = {large, large, large};
        other[0].choice = MP_GEMM_MMA;
        other[1].any_tile = false;
        other[2].row_length = 2044;
        for (size_t j = 0; j < sizeof other / sizeof *other; j++) {
            gemm = found(&other[j], &h100);
            assert_string_equal(gemm.kernel.source, mma);
            assert_true(mp_tile_same(&gemm.tile, &defaults[i]));
        }
        gemm = found(&large, &a100);
        assert_string_equal(gemm.kernel.source, mma);
        assert_true(mp_tile_same(&gemm.tile, &defaults[i]));
    }
    mp_case c = mp_case_default();
    c.K = 2048, c.N = 768;
    mp_config config = {.up = defaults[1], .down = defaults[1]};
    mp_gemm_request up = mp_gemm_of_case(&c, &config, MP_GATE_UP),
                    down = mp_gemm_of_case(&c, &config, MP_DOWN);
    assert_true(up.any_tile && up.columns == 1536 && down.any_tile && down.columns == 2048);
    config.tile_named = true;
    assert_false(mp_gemm_of_case(&c, &config, MP_GATE_UP).any_tile);
}

/* Of int8 the bits are those of mma, and it is chosen; of e4m3 they are not, and it has to be asked for. */
static void wgmma_takes_codes(void **state) {
    (void)state;
    static const char *const codes = "kernels/device/gemm_codes.cu", *const wgmma =
                                                                         "kernels/device/gemm_wgmma.cu";
    static const mp_gemm_codes fp8 = {true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 0, 0, false},
                               int8 = {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 0, 0, false};
    mp_gemm_request r = {
        .tile = {128, 256, 128, 8, 8, 3}, .dtype = MP_BF16, .row_length = 512, .experts = 8, .codes = int8};
    assert_string_equal(found(&r, &h100).kernel.source, wgmma);
    assert_string_equal(found(&r, &h100).instruction->type, "s8");
    r.codes = fp8;
    r.tile = (mp_tile){64, 128, 128, 8, 8, 3};
    assert_string_equal(found(&r, &h100).kernel.source, codes);
    r.choice = MP_GEMM_WGMMA;
    const mp_gemm whole = found(&r, &h100);
    assert_string_equal(whole.kernel.source, wgmma);
    assert_string_equal(whole.instruction->type, "e4m3");
    assert_int_equal(whole.accumulators, 32);
    r.codes.group = 128;
    r.w_scale_rows = 128;
    assert_int_equal(found(&r, &h100).accumulators, 64);
    r.codes.group = 64;
    refused(&r, &h100, "as many codes to a scale");
    r.codes.group = 128;
    r.w_scale_rows = 1;
    refused(&r, &h100, "64 columns together");
    r.w_scale_rows = 128;
    r.codes.a_scale = MP_UE8M0;
    refused(&r, &h100, "in groups in fp32");
    r.codes.a_scale = MP_FP32, r.codes.w_scale = MP_UE8M0;
    refused(&r, &h100, "in groups in fp32");
    r.codes = (mp_gemm_codes){true, MP_E4M3, MP_E2M1, MP_FP32, MP_FP32, 0, 0, false};
    refused(&r, &h100, "both operands int8 or e4m3");
    r.codes = (mp_gemm_codes){true, MP_BF16, MP_I8, MP_FP32, MP_FP32, 0, 0, false};
    refused(&r, &h100, "both operands int8 or e4m3");
}

/* Both GEMMs of a case: their tiles, row lengths and stores. */
static void a_case_asks_for_both(void **state) {
    (void)state;
    mp_case c = mp_case_default();
    c.K = 512, c.N = 99, c.fused_sum = true;
    const mp_config config = {.up = {16, 32, 64, 1, 4, 3}, .down = {16, 64, 32, 8, 2, 4}};
    const mp_gemm_request up = mp_gemm_of_case(&c, &config, MP_GATE_UP),
                          down = mp_gemm_of_case(&c, &config, MP_DOWN);
    const mp_gemm gate_up_gemm = found(&up, &h100), down_gemm = found(&down, &h100);
    assert_string_equal(gate_up_gemm.kernel.options, "-DBLOCK_M=16 -DBLOCK_N=32 -DBLOCK_K=64 -DWARPS=4 "
                                                     "-DSTAGES=3 -DDTYPE=0 -DALIGNED=1 -DATOMIC=0");
    assert_string_equal(down_gemm.kernel.options, "-DBLOCK_M=16 -DBLOCK_N=64 -DBLOCK_K=32 -DWARPS=2 "
                                                  "-DSTAGES=4 -DDTYPE=0 -DALIGNED=0 -DATOMIC=1");
}

/* How many of the case's kernels are of this source, with these options; NULL: whatever they are. */
static int listed(const mp_case *c, const mp_config *config, const char *source, const char *options) {
    mp_kernel kernels[MP_CASE_KERNELS_MAX];
    const int count = mp_case_kernels(c, config, &h100, kernels);
    int found_there = 0;
    for (int i = 0; i < count; i++)
        found_there +=
            strcmp(kernels[i].source, source) == 0 && (!options || strcmp(kernels[i].options, options) == 0);
    return found_there;
}

/* Each GEMM in its own tile. A fused sum is down's: its additions are atomic, and combine scales one row a
 * token. */
static void a_case_compiles_what_its_launches_need(void **state) {
    (void)state;
    static const char *const gemm = "kernels/device/gemm_mma.cu", *const combine =
                                                                      "kernels/device/combine.cu";
    const mp_config config = {.up = {16, 32, 64, 1, 4, 3}, .down = {16, 64, 32, 8, 2, 4}};
    mp_case c = mp_case_default();
    c.K = 512, c.N = 64, c.topk = 4;
    for (int fused_sum = 0; fused_sum < 2; fused_sum++) {
        c.fused_sum = fused_sum;
        assert_int_equal(listed(&c, &config, gemm, NULL), 2);
        assert_int_equal(listed(&c, &config, gemm,
                                "-DBLOCK_M=16 -DBLOCK_N=32 -DBLOCK_K=64 -DWARPS=4 -DSTAGES=3 -DDTYPE=0 "
                                "-DALIGNED=1 -DATOMIC=0"),
                         1);
        assert_int_equal(listed(&c, &config, gemm,
                                fused_sum ? "-DBLOCK_M=16 -DBLOCK_N=64 -DBLOCK_K=32 -DWARPS=2 -DSTAGES=4 "
                                            "-DDTYPE=0 -DALIGNED=1 -DATOMIC=1"
                                          : "-DBLOCK_M=16 -DBLOCK_N=64 -DBLOCK_K=32 -DWARPS=2 -DSTAGES=4 "
                                            "-DDTYPE=0 -DALIGNED=1 -DATOMIC=0"),
                         1);
        assert_int_equal(listed(&c, &config, combine, NULL), 1);
        assert_int_equal(
            listed(&c, &config, combine,
                   fused_sum ? "-DTOPK=1 -DDTYPE=0 -DVECTOR=8" : "-DTOPK=4 -DDTYPE=0 -DVECTOR=8"),
            1);
    }
}

/* A stage less where num_stages do not fit, as Triton has it; and no more than one less. */
static void a_stage_is_given_up_where_shared_memory_ends(void **state) {
    (void)state;
    static const struct {
        mp_tile tile;
        const char *option; /* on an H100 */
    } rows[] = {{{128, 256, 64, 16, 8, 3}, "-DSTAGES=3 "},
                {{128, 256, 64, 16, 8, 4}, "-DSTAGES=4 "},
                {{128, 256, 64, 16, 8, 5}, "-DSTAGES=4 "},
                {{128, 256, 128, 16, 8, 3}, "-DSTAGES=2 "},
                {{128, 256, 256, 16, 8, 2}, "-DSTAGES=1 "}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const mp_tile *t = &rows[i].tile;
        const mp_gemm gemm =
            found(&(mp_gemm_request){.tile = *t, .dtype = MP_BF16, .row_length = 512, .choice = MP_GEMM_MMA},
                  &h100);
        assert_non_null(strstr(gemm.kernel.options, rows[i].option));
        assert_int_equal(gemm.stages, rows[i].option[9] - '0');
        const int64_t stage = (int64_t)(t->block_size_m + t->block_size_n) * t->block_size_k * 2;
        assert_int_equal(gemm.shared_bytes, (rows[i].option[9] - '0') * stage + t->block_size_m * 20);
        assert_in_range(gemm.shared_bytes, 1, h100.shared_bytes);
    }
    refused(&(mp_gemm_request){.tile = {128, 256, 64, 16, 8, 6}, .dtype = MP_BF16, .row_length = 512}, &h100,
            "248320 bytes");
    /* To the byte. */
    const mp_gemm_request one = {.tile = {64, 64, 64, 8, 4, 1}, .dtype = MP_BF16, .row_length = 512};
    const int64_t bytes = 128 * 64 * 2 + 64 * 20;
    found(&one, &(mp_device_limits){90, bytes});
    refused(&one, &(mp_device_limits){90, bytes - 1}, "17664 bytes of shared memory");
}

static void what_does_not_fit_is_refused_with_its_figures(void **state) {
    (void)state;
    mp_kernel kernels[MP_CASE_KERNELS_MAX];
    const mp_gemm_request many = {.tile = {256, 256, 64, 8, 4, 2}, .dtype = MP_BF16, .row_length = 512};
    refused(&many, &h100, "512 accumulators");
    const mp_gemm_request large = {.tile = {256, 256, 256, 8, 8, 3}, .dtype = MP_BF16, .row_length = 512};
    refused(&large, &h100, "shared memory in bf16, a block on this sm_90 can have 232448");
    const mp_device_limits old = {.architecture = 75, .shared_bytes = 65536};
    refused(&(mp_gemm_request){.tile = {16, 32, 32, 1, 4, 2}, .dtype = MP_FP16, .row_length = 512}, &old,
            "mma.sync of f16 does not exist on sm_75");
    /* Nobody compiles it in advance. */
    const mp_case c = mp_case_default();
    const mp_config good = {.up = {64, 64, 32, 1, 4, 2}, .down = {64, 64, 32, 1, 4, 2}},
                    bad = {.up = many.tile, .down = large.tile};
    assert_int_equal(mp_case_kernels(&c, &bad, &h100, kernels),
                     mp_case_kernels(&c, &good, &h100, kernels) - 2);
}

/* The contract of an architecture is the arithmetic of the instruction that its kernels use, and the probe
 * measures that instruction. */
static void contract_and_probe_know_the_instruction(void **state) {
    (void)state;
    static const int architectures[] = {80, 86, 89, 90, 100};
    for (size_t a = 0; a < sizeof architectures / sizeof *architectures; a++)
        for (mp_dtype dtype = MP_BF16; dtype <= MP_FP32; dtype++) {
            const mp_device_limits limits = {architectures[a], INT64_MAX};
            const mp_gemm_request request = {
                .tile = {64, 64, 32, 8, 4, 3}, .dtype = dtype, .row_length = 512};
            const mp_mma_instruction *m = found(&request, &limits).instruction;
            mp_case c = mp_case_default();
            c.dtype = dtype;
            const mp_contract contract = mp_contract_of_architecture(architectures[a], &c);
            if (!m) {
                assert_int_equal(contract.gate_up.accumulator, MP_ACC_FMA_ASCENDING);
                continue;
            }
            const mp_probe_kind *kind = NULL;
            for (int i = 0; i < mp_probe_kind_count; i++) {
                const mp_mma_instruction *p = &mp_probe_kinds[i].instruction;
                if (p->wgmma == m->wgmma && strcmp(p->type, m->type) == 0 &&
                    strcmp(p->result, m->result) == 0 && p->depth == m->depth && p->saturate == m->saturate)
                    kind = &mp_probe_kinds[i];
            }
            assert_non_null(kind);
            mp_tc_model model;
            assert_true(mp_tc_find(architectures[a], m->wgmma ? MP_TC_WGMMA : MP_TC_MMA, kind->input,
                                   kind->input, &model));
            assert_int_equal(kind->operand, dtype);
            assert_int_equal(contract.gate_up.accumulator, MP_ACC_TENSOR_CORE);
            assert_int_equal(contract.gate_up.group, model.group);
            assert_int_equal(contract.gate_up.fraction_bits, model.fraction_bits);
            assert_int_equal(contract.gate_up.result_fraction_bits, model.result_fraction_bits);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_dtype_has_its_kind),
        cmocka_unit_test(codes_have_their_kinds),
        cmocka_unit_test(wgmma_takes_what_it_can),
        cmocka_unit_test(wgmma_has_tiles_of_its_own),
        cmocka_unit_test(wgmma_takes_codes),
        cmocka_unit_test(a_case_asks_for_both),
        cmocka_unit_test(a_case_compiles_what_its_launches_need),
        cmocka_unit_test(a_stage_is_given_up_where_shared_memory_ends),
        cmocka_unit_test(what_does_not_fit_is_refused_with_its_figures),
        cmocka_unit_test(contract_and_probe_know_the_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
