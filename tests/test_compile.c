/* SPDX-License-Identifier: Apache-2.0 */
/* Every device kernel compiles for every architecture that is supported, and the default configs do not
 * spill. Needs NVRTC, no GPU. What the compiler said of a text that has not changed since is read from the
 * cache: MOEPARITY_CACHE, which ctest sets, says where that is. */
#include "cases/fill.h"
#include "kernels/driver.h"
#include "kernels/gemm/gemm.h"
#include "kernels/jit.h"
#include "kernels/report.h"
#include "kernels/stage/stage.h"
#include "offload/handle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const int architectures[] = {80, 90, 100};
#define ARCHITECTURES 3
#define MAX_JOBS 512

typedef struct job {
    int architecture;
    mp_kernel kernel;
    int64_t dynamic_bytes;
    bool may_spill;
    int compiled_by; /* the first job of this source and these options: one compilation has all entries */
    mp_status status;
    char *log; /* of that job alone */
    mp_error err;
} job;

static job jobs[MAX_JOBS];
static int job_count, jobs_done;

static bool is_same_program(const job *j, int architecture, const mp_kernel *kernel) {
    return j->architecture == architecture && strcmp(j->kernel.source, kernel->source) == 0 &&
           strcmp(j->kernel.options, kernel->options) == 0;
}

/* What was asked for before, and no less strictly, is not looked at again. */
static void add(int architecture, mp_kernel kernel, int64_t dynamic_bytes, bool may_spill) {
    int compiled_by = job_count;
    for (int i = job_count - 1; i >= 0; i--) {
        if (!is_same_program(&jobs[i], architecture, &kernel)) continue;
        if (strcmp(jobs[i].kernel.entry, kernel.entry) == 0 && jobs[i].may_spill <= may_spill) return;
        compiled_by = i;
    }
    assert_true(job_count < MAX_JOBS);
    jobs[job_count++] = (job){.architecture = architecture,
                              .kernel = kernel,
                              .dynamic_bytes = dynamic_bytes,
                              .may_spill = may_spill,
                              .compiled_by = compiled_by};
}

static void add_gemm(int architecture, mp_tile tile, mp_dtype dtype, int64_t k, bool atomic, bool may_spill) {
    assert_int_equal(mp_tile_validate(&tile, NULL), MP_OK);
    const mp_gemm_request request = {.tile = tile, .dtype = dtype, .row_length = k, .atomic = atomic};
    const mp_device_limits limits = {.architecture = architecture, .shared_bytes = INT64_MAX};
    mp_gemm gemm;
    assert_int_equal(mp_gemm_find(&request, &limits, &gemm, NULL), MP_OK);
    add(architecture, gemm.kernel, gemm.shared_bytes, may_spill);
}

/* Compiles what is new in parallel, prints the table of the new jobs and fails if one failed or spilled. */
static void run_jobs(void) {
    int failed = 0;
#pragma omp parallel for schedule(dynamic)
    for (int i = jobs_done; i < job_count; i++)
        if (jobs[i].compiled_by == i)
            jobs[i].status = mp_jit_log(&jobs[i].kernel, jobs[i].architecture, &jobs[i].log, &jobs[i].err);
    printf("%-6s %-14s %9s %7s %6s %9s  options\n", "arch", "entry", "registers", "spills", "stack",
           "shared");
    for (int i = jobs_done; i < job_count; i++) {
        const job *j = &jobs[i], *by = &jobs[j->compiled_by];
        mp_compile_report r = {0};
        mp_error err = by->err;
        const mp_status status =
            by->status == MP_OK ? mp_compile_report_read(by->log, j->kernel.entry, &r, &err) : by->status;
        const int spills = r.spill_store_bytes + r.spill_load_bytes;
        printf("sm_%-3d %-14s %9d %7d %6d %9lld  %s\n", j->architecture, j->kernel.entry, r.registers, spills,
               r.stack_bytes, (long long)(r.shared_bytes + j->dynamic_bytes), j->kernel.options);
        if (status != MP_OK) print_error("%s\n", err.text);
        if (r.serialized) print_error("wgmma waits for each product\n");
        if (status == MP_OK && spills > 0 && !j->may_spill) print_error("spills %d bytes\n", spills);
        failed += status != MP_OK || r.registers < 1 || r.stack_bytes > MP_STACK_BYTES_MAX ||
                  (spills > 0 && !j->may_spill) || r.serialized;
    }
    jobs_done = job_count;
    assert_int_equal(failed, 0);
}

static void default_configs_do_not_spill(void **state) {
    (void)state;
    for (int a = 0; a < ARCHITECTURES; a++)
        for (mp_dtype dtype = MP_BF16; dtype <= MP_FP32; dtype++)
            for (int64_t M = 8; M <= 9; M++) { /* M <= E and M > E have their own default */
                mp_case c = mp_case_default();
                mp_config config;
                c.M = M;
                c.dtype = dtype;
                assert_int_equal(mp_config_resolve(&c, NULL, &config, NULL), MP_OK);
                add_gemm(architectures[a], config.up, dtype, c.K, false, false);
            }
    run_jobs();
}

static void tiles_compile(void **state) {
    (void)state;
    const struct {
        mp_tile tile;
        mp_dtype dtype;
        bool may_spill;
    } tiles[] = {
        {{16, 16, 32, 1, 8, 5}, MP_BF16, false}, /* fewer warp tiles than warps */
        {{16, 64, 128, 1, 4, 3}, MP_BF16, false},
        {{64, 64, 64, 1, 16, 8}, MP_BF16, false}, /* the most warps and stages of any published file */
        {{16, 128, 64, 1, 4, 4}, MP_FP16, false},
        {{32, 32, 256, 1, 1, 1}, MP_BF16, true}, /* one warp copies 64 chunks a lane */
        {{64, 128, 64, 32, 4, 3}, MP_BF16, false},
        {{128, 128, 64, 8, 8, 4}, MP_BF16, false},
        {{128, 256, 64, 16, 8, 3}, MP_BF16, false},
        {{128, 256, 64, 16, 8, 3}, MP_FP16, false},
        {{144, 128, 64, 16, 8, 3}, MP_BF16, false}, /* 9 times 16 rows, which no two warps share */
        {{256, 128, 32, 8, 8, 3}, MP_FP32, true},
        {{256, 256, 32, 8, 8, 2}, MP_FP16, true}, /* 256 accumulators: must spill, must run */
    };
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++)
        add_gemm(90, tiles[i].tile, tiles[i].dtype, 512, false, tiles[i].may_spill);
    for (int a = 0; a < ARCHITECTURES; a++)
        for (mp_dtype dtype = MP_BF16; dtype <= MP_FP32; dtype++)
            add_gemm(architectures[a], (mp_tile){32, 64, 32, 1, 4, 2}, dtype, 99, true, false);
    run_jobs();
}

static void fill_compiles(void **state) {
    (void)state;
    static const struct {
        mp_dtype dtype;
        int style, larger; /* of rows in turn: they differ */
    } fills[] = {{MP_BF16, MP_STYLE_NORMAL, 0}, {MP_E4M3, MP_STYLE_NORMAL, 0}, {MP_I8, MP_STYLE_NORMAL, 0},
                 {MP_E2M1, MP_STYLE_NORMAL, 0}, {MP_U4, MP_STYLE_NORMAL, 0},   {MP_FP32, MP_STYLE_NORMAL, 0},
                 {MP_BF16, MP_STYLE_INT, 0},    {MP_FP16, MP_STYLE_WIDE, 0},   {MP_BF16, MP_STYLE_ONE, 0},
                 {MP_E4M3, MP_STYLE_CODES, 0},  {MP_BF16, MP_STYLE_LIMITS, 0}, {MP_BF16, MP_STYLE_GATES, 0},
                 {MP_BF16, MP_STYLE_NORMAL, 3}, {MP_FP32, MP_STYLE_NORMAL, 3}};
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++)
        for (int a = 0; a < ARCHITECTURES; a++) {
            const mp_numbers n = {.format = mp_code_format_of(fills[i].dtype),
                                  .rule = {.style = fills[i].style},
                                  .shift = {fills[i].larger},
                                  .padded_from = MP_NO_PADDING};
            add(architectures[a], mp_kernel_fill(&n), 0, false);
            if (mp_rows_are_alike(&n) && n.rule.style == MP_STYLE_NORMAL)
                add(architectures[a], mp_kernel_largest(&n.format), 0, false);
        }
    run_jobs();
}

/* The judge on the device. */
static void the_judge_compiles(void **state) {
    (void)state;
    static const struct {
        const char *source, *entry, *options;
    } kernels[] = {{"offload/device/decode.cu", "decode", ""},
                   {"offload/device/gemm_float64.cu", "gemm_values", ""},
                   {"offload/device/gemm_float64.cu", "gemm_values_and_masses", ""},
                   {"offload/device/gemm_float64.cu", "gemm_absolute", ""},
                   {"offload/device/gemm_float64.cu", "gemm_squares", ""},
                   {"offload/device/steps.cu", "epilogue", ""},
                   {"offload/device/steps.cu", "activate", ""},
                   {"offload/device/steps.cu", "measure_tokens", ""},
                   {"offload/device/confirm_quant.cu", "confirm_quant", ""},
                   {"offload/device/screen_quant.cu", "see_groups", ""},
                   {"offload/device/screen_quant.cu", "screen_quant", ""},
                   {"offload/device/balls.cu", "quantise_balls", ""},
                   {"offload/device/balls.cu", "sum_balls", ""},
                   {"offload/device/balls.cu", "activate_balls", ""},
                   {"offload/device/balls.cu", "bound_tokens", ""},
                   {"offload/device/screen.cu", "screen_gemm", ""},
                   {"offload/device/screen.cu", "screen_gemm", "-DSCALED=1"},
                   {"offload/device/screen_act.cu", "screen_act", ""},
                   {"offload/device/screen_combine.cu", "screen_combine", ""},
                   {"offload/device/confirm.cu", "confirm_gemm", ""},
                   {"offload/device/confirm_act.cu", "confirm_act", ""},
                   {"offload/device/confirm_combine.cu", "confirm_combine", ""}};
    for (int a = 0; a < ARCHITECTURES; a++)
        for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
            mp_kernel kernel = {
                .texts = &mp_offload_texts, .source = kernels[i].source, .entry = kernels[i].entry};
            strcpy(kernel.options, kernels[i].options);
            add(architectures[a], kernel, 0, false);
        }
    run_jobs();
}

/* wgmma, in tiles of every number of sorted rows, one warpgroup and two, one and two slices of k. Its
 * products overlap only where the compiler sees nothing else touch their sums: it says so where it does. */
static void wgmma_compiles(void **state) {
    (void)state;
    static const mp_tile tiles[] = {
        {128, 256, 64, 8, 8, 4},  {144, 256, 64, 8, 8, 4}, {144, 64, 64, 1, 4, 4}, {16, 64, 64, 1, 4, 2},
        {16, 128, 128, 1, 8, 5},  {32, 128, 64, 1, 8, 8},  {64, 256, 64, 8, 8, 4}, {128, 64, 64, 8, 4, 4},
        {128, 128, 128, 8, 8, 3}, {128, 256, 64, 8, 8, 4}};
    static const mp_tile tiles_of_codes[] = {{16, 128, 128, 1, 8, 8}, {128, 128, 128, 8, 8, 5}};
    static const mp_gemm_codes codes[] = {{true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 128, 0, false},
                                          {true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 0, 0, false},
                                          {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 128, 0, false},
                                          {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 0, 0, false}};
    enum { TILES = sizeof tiles / sizeof *tiles, CODES = 4, TILES_OF_CODES = 2 };
    const mp_device_limits limits = {.architecture = 90, .shared_bytes = 232448};
    for (int i = 0; i < TILES + CODES * TILES_OF_CODES; i++) {
        const bool plain = i < TILES;
        const mp_gemm_request request = {
            .tile = plain ? tiles[i] : tiles_of_codes[(i - TILES) % TILES_OF_CODES],
            .codes = plain ? (mp_gemm_codes){0} : codes[(i - TILES) / TILES_OF_CODES],
            .dtype = i % 2 ? MP_FP16 : MP_BF16,
            .row_length = 512,
            .columns = i == 0 ? 516 : 512, /* whole chunks, and not */
            .experts = 8,
            .w_scale_rows = 128,
            .choice = MP_GEMM_WGMMA};
        mp_gemm gemm;
        assert_int_equal(mp_gemm_find(&request, &limits, &gemm, NULL), MP_OK);
        add(90, gemm.kernel, gemm.shared_bytes, false);
    }
    run_jobs();
}

/* Codes in the tiles of published files for them, whole chunks and not. */
static void codes_compile(void **state) {
    (void)state;
    static const mp_gemm_codes codes[] = {
        {true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 128, 0, false},
        {true, MP_E4M3, MP_E4M3, MP_FP32, MP_FP32, 0, 0, false},
        {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 128, 0, false},
        {true, MP_I8, MP_I8, MP_FP32, MP_FP32, 0, 0, false},
        {true, MP_BF16, MP_I8, MP_FP32, MP_FP32, 0, 0, false},
        {true, MP_FP16, MP_U8, MP_FP32, MP_FP16, 64, 128, true},
        {true, MP_BF16, MP_U4, MP_FP32, MP_BF16, 128, 8, false},
        {true, MP_FP16, MP_U4, MP_FP32, MP_FP16, 32, 8, true},
        {true, MP_BF16, MP_E2M1, MP_FP32, MP_UE8M0, 32, 0, false},
    };
    static const mp_tile tiles[] = {{16, 64, 64, 1, 4, 3}, {64, 128, 128, 32, 4, 3}, {64, 64, 32, 1, 4, 2}};
    const mp_device_limits limits = {.architecture = 90, .shared_bytes = INT64_MAX};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        for (size_t t = 0; t < sizeof tiles / sizeof *tiles; t++) {
            const mp_gemm_request request = {.tile = tiles[t],
                                             .dtype = codes[i].a == MP_FP16 ? MP_FP16 : MP_BF16,
                                             .codes = codes[i],
                                             .row_length = t == 2 ? 98 : 512};
            mp_gemm gemm;
            assert_int_equal(mp_gemm_find(&request, &limits, &gemm, NULL), MP_OK);
            /* 64 sums a thread twice, and e4m3 becomes fp16 on the way: a register is missing. */
            const bool may_spill = codes[i].a == MP_E4M3 && codes[i].group && gemm.accumulators == 128;
            add(90, gemm.kernel, gemm.shared_bytes, may_spill);
        }
    run_jobs();
}

/* LoRA's GEMMs: ranks that are whole chunks, and not. */
static void adapters_compile(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int architectures;
    } rows[] = {{"M=9 lora_adapters=3 lora_rank=16", ARCHITECTURES},
                {"M=9 dtype=fp16 lora_adapters=3 lora_rank=1", 2},
                {"M=9 dtype=fp32 lora_adapters=3 lora_rank=40", 2},
                {"M=8 K=96 N=33 lora_adapters=1 lora_rank=40 tile=256x64x64x8x4x3", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mp_case c = mp_case_default();
        mp_config config;
        assert_int_equal(mp_case_parse(&c, rows[i].text, NULL), MP_OK);
        assert_int_equal(mp_config_resolve(&c, NULL, &config, NULL), MP_OK);
        for (int a = 0; a < rows[i].architectures; a++) {
            const mp_device_limits limits = {.architecture = architectures[a], .shared_bytes = 166912};
            mp_kernel kernels[MP_CASE_KERNELS_MAX];
            const int count = mp_case_kernels(&c, &config, &limits, kernels);
            int found = 0;
            for (int k = 0; k < count; k++) {
                if (!strstr(kernels[k].options, "-DADAPTERS=1")) continue;
                add(architectures[a], kernels[k], 0, false);
                found++;
            }
            assert_int_equal(found, 4);
        }
    }
    run_jobs();
}

static void other_kernels_compile(void **state) {
    (void)state;
    for (int a = 0; a < ARCHITECTURES; a++) {
        const int architecture = architectures[a];
        add(architecture, mp_kernel_align("align_count"), 0, false);
        for (mp_dtype dtype = MP_BF16; dtype <= MP_FP64; dtype++) {
            add(architecture, mp_kernel_tool("fill_elements", dtype), 0, false);
            add(architecture, mp_kernel_tool("fill_codes", dtype), 0, false);
            add(architecture, mp_kernel_tool("pass_time", dtype), 0, false);
            add(architecture, mp_kernel_combine(dtype, 8, 512, false, false), 0, false);
            add(architecture, mp_kernel_combine(dtype, 8, 512, true, false), 0, false);
            add(architecture, mp_kernel_combine(dtype, 8, 512, false, true), 0, false);
            add(architecture, mp_kernel_combine(dtype, 8, 512, true, true), 0, false);
        }
        add(architecture, mp_kernel_combine(MP_BF16, 1, 33, false, false), 0, false);
        for (mp_activation act = 0; act < MP_ACTIVATION_COUNT; act++) {
            mp_case c = mp_case_default();
            c.act = act;
            c.gated = act != MP_RELU2;
            c.interleaved = act == MP_SWIGLU_OAI;
            c.dtype = (mp_dtype)(act % 3); /* bf16, fp16, fp32 in turn */
            c.N = act == MP_GELU ? 33 : 256;
            add(architecture, mp_kernel_activation(&c), 0, false);
        }
    }
    run_jobs();
}

/* What the launches of a stage compile, whichever stages there are: each alone, in every format that it has.
 */
static void every_stage_compiles(void **state) {
    (void)state;
    const mp_device_limits limits = {.architecture = 90, .shared_bytes = INT64_MAX};
    for (mp_dtype dtype = MP_BF16; dtype <= MP_FP64; dtype++)
        for (int s = 0; s < MP_STAGE_COUNT; s++) {
            mp_case c = mp_case_default();
            mp_config config;
            mp_kernel kernels[MP_CASE_KERNELS_MAX];
            c.scope = (mp_scope)(1 + s);
            c.dtype = dtype;
            if (mp_case_validate(&c, NULL) != MP_OK) continue;
            assert_int_equal(mp_config_resolve(&c, NULL, &config, NULL), MP_OK);
            const int count = mp_case_kernels(&c, &config, &limits, kernels);
            for (int k = 0; k < count; k++) add(90, kernels[k], 0, false);
        }
    run_jobs();
}

/* What a device runs of each scheme: every kernel of its stages, once; with scales in tiles; and where act
 * makes the codes. */
static void every_scheme_compiles(void **state) {
    (void)state;
    const mp_device_limits limits = {.architecture = 90, .shared_bytes = INT64_MAX};
    enum { USUAL, IN_TILES, FUSED, WAYS };
    int in_tiles = 0, fused = 0;
    for (int q = MP_SCHEME_NONE + 1; q < MP_SCHEME_COUNT; q++)
        for (int way = USUAL; way < WAYS; way++) {
            mp_case c = mp_case_default();
            mp_config config;
            mp_kernel kernels[MP_CASE_KERNELS_MAX];
            c.quant = (mp_quant)q;
            if (way == IN_TILES) c.scale_layout = MP_SWIZZLED;
            c.fused_quant = way == FUSED;
            if (way != USUAL && mp_case_validate(&c, NULL) != MP_OK) continue;
            assert_int_equal(mp_case_validate(&c, NULL), MP_OK);
            assert_int_equal(mp_config_resolve(&c, NULL, &config, NULL), MP_OK);
            const int count = mp_case_kernels(&c, &config, &limits, kernels);
            for (int k = 0; k < count; k++) {
                add(90, kernels[k], 0, false);
                in_tiles += strstr(kernels[k].options, "-DSWIZZLED=1") != NULL;
                fused += strstr(kernels[k].options, "-DLANES") && strstr(kernels[k].options, "-DACT");
            }
        }
    assert_int_equal(in_tiles, 2 + 4 + 4 + 4); /* of mxfp4 the GEMMs, of others their quantisers, too */
    assert_int_equal(fused, 8);                /* schemes whose scales are of a row, or a group */
    run_jobs();
}

/* Families that the other tests leave out, where this NVRTC knows them: each kernel source once. */
static void every_architecture_compiles(void **state) {
    (void)state;
    static const int others[] = {86, 87, 88, 89, 103, 110, 120, 121};
    for (size_t a = 0; a < sizeof others / sizeof *others; a++) {
        mp_case c = mp_case_default();
        if (mp_jit_check_architecture(others[a], NULL) != MP_OK) continue;
        add(others[a], mp_kernel_align("align_count"), 0, false);
        add_gemm(others[a], (mp_tile){16, 64, 64, 1, 4, 2}, MP_BF16, 512, false, false);
        add_gemm(others[a], (mp_tile){16, 32, 32, 1, 4, 2}, MP_BF16, 99, true, false);
        add(others[a], mp_kernel_activation(&c), 0, false);
        add(others[a], mp_kernel_combine(MP_BF16, 2, 512, false, false), 0, false);
        add(others[a], mp_kernel_probe(mp_mma_of(false, MP_BF16), 2), 0, false);
        add(others[a], mp_kernel_products(mp_mma_of(false, MP_BF16), MP_BF16), 0, false);
        if (others[a] >= 89) add(others[a], mp_kernel_probe(mp_mma_of(false, MP_E4M3), 2), 0, false);
    }
    run_jobs();
}

/* What a device can do at best is not what it can do with spilled registers. */
static void rates_do_not_spill(void **state) {
    (void)state;
    static const mp_dtype operands[] = {MP_BF16, MP_FP16, MP_E4M3, MP_I8};
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        for (int wgmma = 0; wgmma < 2; wgmma++)
            add(90, mp_kernel_products(mp_mma_of(wgmma, operands[i]), operands[i]), 0, false);
    add(90, mp_kernel_multiply_adds("float"), 0, false);
    add(90, mp_kernel_multiply_adds("double"), 0, false);
    run_jobs();
}

int main(void) {
    const mp_nvrtc *nvrtc;
    mp_error err = {0};
    if (mp_nvrtc_load(&nvrtc, &err) != MP_OK) {
        printf("SKIP: %s\n", err.text);
        return 77;
    }
    unsetenv("SGLANG_MOE_CONFIG_DIR");
    unsetenv("VLLM_TUNED_CONFIG_FOLDER");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(default_configs_do_not_spill),
        cmocka_unit_test(tiles_compile),
        cmocka_unit_test(wgmma_compiles),
        cmocka_unit_test(fill_compiles),
        cmocka_unit_test(the_judge_compiles),
        cmocka_unit_test(codes_compile),
        cmocka_unit_test(adapters_compile),
        cmocka_unit_test(other_kernels_compile),
        cmocka_unit_test(every_stage_compiles),
        cmocka_unit_test(every_scheme_compiles),
        cmocka_unit_test(rates_do_not_spill),
        cmocka_unit_test(every_architecture_compiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
