/* SPDX-License-Identifier: Apache-2.0 */
/* cases/case.c, field.c, validate.c: text and case are two forms of the same thing; what cannot be is refused
 * with advice. */
#include "cases/case_json.h"
#include "cases/case_tools.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void assert_contains(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("'%s' does not contain '%s'", text, part);
}

static mp_case parsed(const char *text) {
    mp_error err;
    mp_case c = mp_case_default();
    if (mp_case_parse(&c, text, &err)) fail_msg("'%s': %s", text, err.text);
    return c;
}

/* ---- random cases: any of these values may meet any other; the impossible ones are drawn again ---- */

static const char *const choices[][9] = {
    {"M", "1", "7", "65536", "70000", "2000000"},
    {"E", "1", "8", "60", "1024"},
    {"topk", "1", "2", "4", "8"},
    {"K", "1", "100", "512", "7168"},
    {"N", "1", "52", "256", "1048576"},
    {"dtype", "bf16", "fp16", "fp32", "fp64"},
    {"act", "silu", "gelu", "gelu_tanh", "relu2", "swiglu_oai", "silu_clamp", "clamp_silu"},
    {"gated", "1", "1", "0"},
    {"alpha", "1.702", "1.702", "0.1", "1e-300"},
    {"limit", "7", "7", "10", "0.3333333333333333"},
    {"interleaved", "0", "1"},
    {"rsf", "1", "2.5", "-0.1", "2.827", "100000"},
    {"mode", "combine", "no_combine", "inplace"},
    {"apply_router_weight_on_input", "0", "1"},
    {"apply_router_weight_in_combine", "0", "1"},
    {"no_combine_keep_router_weight", "0", "1"},
    {"bias", "0", "1"},
    {"filter", "0", "0.25", "1"},
    {"ep_size", "1", "1", "2", "8"},
    {"ep_rank", "0", "0", "1"},
    {"expert_map", "none", "none", "linear", "round_robin"},
    {"sentinel", "-1", "-1", "E", "any"},
    {"fused_sum", "0", "0", "1"},
    {"layout", "route", "sorted", "masked"},
    {"path", "fused", "runner", "chunked"},
    {"weight_row_gap", "0", "0", "1", "64"},
    {"weight_expert_gap", "0", "0", "1048576"},
    {"buffer_offset", "0", "0", "1", "63"},
    {"scope", "all", "all", "align", "combine"},
    {"tile", "auto", "16x16x32x1x1x1", "256x256x256x65536x16x8"},
    {"tile_down", "auto", "auto", "16x64x64x8x4x3"},
    {"data", "normal", "integer", "wide", "onehot", "special", "limits", "unused", "codes"},
    {"routing", "uniform", "zipf", "hot", "empty", "first", "last", "duplicates", "padded"},
    {"seed", "0", "1", "9223372036854775807"},
    {"shared", "none", "slot", "add"},
    {"quant", "none", "none", "none", "fp8-block", "int4-w4a16-zp", "nvfp4"},
    {"group", "0", "0", "64"},
    {"scale_layout", "row", "row", "row", "row-padded", "column", "column-padded", "swizzled"},
    {"lora_adapters", "0", "0", "1", "4096"},
    {"lora_rank", "16", "1", "16", "40"},
    {"lora_map", "token", "token", "segments"},
    {"lora_routing", "mixed", "uniform", "one", "base", "empty", "requests"},
    {"lora_disabled", "0", "0", "0.5", "1"},
    {"lora_ranks", "full", "full", "zeros", "garbage"},
    {"lora_outer", "own", "own", "shared", "copies"},
    {"lora_data", "normal", "same", "zero_a", "zero_b"},
    {"gemm", "auto", "mma", "wgmma"},
    {"fused_quant", "0", "0", "1"},
};

static uint64_t next_random(uint64_t *state) { /* Knuth's MMIX constants */
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Each field keeps its default half of the time, else any combination would nearly always be impossible. */
static bool random_case(uint64_t *state, mp_case *c) {
    mp_error err;
    *c = mp_case_default();
    for (size_t f = 0; f < COUNT(choices); f++) {
        size_t n = 1;
        while (n < COUNT(choices[f]) && choices[f][n]) n++;
        const char *value = choices[f][1 + next_random(state) % (n - 1)];
        if (next_random(state) % 4 == 0) assert_int_equal(mp_case_set(c, choices[f][0], value, &err), MP_OK);
    }
    return mp_case_validate(c, &err) == MP_OK;
}

static void text_round_trips(void **unused) {
    (void)unused;
    uint64_t state = 1;
    mp_case previous = mp_case_default();
    char previous_text[MP_CASE_TEXT_MAX] = "";
    int valid = 0;
    mp_case_text(&previous, previous_text, sizeof previous_text);
    for (int i = 0; i < 40000; i++) {
        mp_case c, back = mp_case_default();
        char text[MP_CASE_TEXT_MAX], again[MP_CASE_TEXT_MAX];
        mp_error err;
        if (!random_case(&state, &c)) continue;
        valid++;
        const size_t length = mp_case_text(&c, text, sizeof text);
        assert_int_equal(length, strlen(text));
        if (mp_case_parse(&back, text, &err)) fail_msg("'%s': %s", text, err.text);
        assert_int_equal(mp_case_compare(&c, &back), 0);
        mp_case_text(&back, again, sizeof again);
        assert_string_equal(text, again);
        /* Text and order distinguish the same cases, and the order is antisymmetric. */
        assert_int_equal(mp_case_compare(&c, &previous) == 0, strcmp(text, previous_text) == 0);
        assert_int_equal(mp_case_compare(&c, &previous), -mp_case_compare(&previous, &c));
        previous = c;
        memcpy(previous_text, text, sizeof text);
    }
    assert_true(valid > 1000);
}

static void canonical_text(void **unused) {
    (void)unused;
    char text[MP_CASE_TEXT_MAX], small[8];
    const mp_case d = mp_case_default();
    mp_case_text(&d, text, sizeof text);
    assert_string_equal(text, "M=32 topk=2 act=silu");
    assert_int_equal(mp_case_text(&d, small, sizeof small), strlen(text)); /* the whole length, as snprintf */
    assert_string_equal(small, "M=32 to");
    const mp_case c = parsed("  rsf=0.10\ttile=064x64x32x8x4x3 gated=false act=relu2 K=96 ");
    mp_case_text(&c, text, sizeof text);
    assert_string_equal(text, "M=32 topk=2 K=96 act=relu2 gated=0 rsf=0.1 tile=64x64x32x8x4x3");
    const mp_case zero = parsed("rsf=-0 filter=-0");
    assert_false(signbit(zero.rsf));
}

static void reals_are_exact_in_any_locale(void **unused) {
    (void)unused;
    static const double values[] = {
        0.1, 1.0 / 3, 2.827, 1e-300, 5e-324, 999999.9999999999, 0.30000000000000004};
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it exists: a decimal comma */
    for (size_t i = 0; i < COUNT(values); i++) {
        mp_case c = mp_case_default();
        char text[MP_CASE_TEXT_MAX];
        c.rsf = values[i];
        mp_case_text(&c, text, sizeof text);
        assert_true(parsed(text).rsf == values[i]);
    }
    mp_case c = mp_case_default();
    char text[MP_CASE_TEXT_MAX];
    c.rsf = 0.1;
    mp_case_text(&c, text, sizeof text);
    assert_string_equal(text, "M=32 topk=2 act=silu rsf=0.1");
    setlocale(LC_ALL, "C");
}

/* ---- refusals ---- */

typedef struct refusal {
    const char *text, *message;
} refusal;

static void refuse(const refusal *r, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mp_error err = {0};
        mp_case c = mp_case_default();
        if (mp_case_parse(&c, r[i].text, &err) != MP_EINPUT) fail_msg("'%s' is accepted", r[i].text);
        assert_contains(err.text, r[i].message);
        const mp_case d = mp_case_default();
        assert_int_equal(mp_case_compare(&c, &d), 0); /* left as it was */
    }
}

static void bad_values_are_refused(void **unused) {
    (void)unused;
    static const refusal r[] = {
        {"m=1", "did you mean 'M'?"},
        {"topkk=1", "did you mean 'topk'?"},
        {"zzzzzz=1", "unknown field 'zzzzzz'; known: M, E, topk, K, N, dtype, act"},
        {"=1", "a value without a field's name: expected name=value, without blanks around the sign"},
        {"M", "expected name=value"},
        {"M=", "M=: expected an integer from 0 to 2147483647"},
        {"M=-1", "M=-1: expected an integer from 0 to 2147483647"},
        {"M=2147483648", "M=2147483648: expected"},
        {"M=+1", "M=+1: expected"},
        {"M=1x", "M=1x: expected"},
        {"M=0x10", "M=0x10: expected"},
        {"M=1.0", "M=1.0: expected"},
        {"M=99999999999999999999", "expected an integer from 0 to 2147483647"},
        {"seed=9223372036854775808", "expected an integer from 0 to 9223372036854775807"},
        {"seed=-1", "seed=-1"},
        {"topk=1025", "from 1 to 1024"},
        {"rsf=nan", "rsf=nan: expected a number from -1e+06 to 1e+06"},
        {"rsf=inf", "rsf=inf"},
        {"rsf=1,5", "rsf=1,5"},
        {"rsf=0x1p3", "rsf=0x1p3"},
        {"rsf=1e9", "rsf=1e9"},
        {"rsf=1e-400", "rsf=1e-400: 1e-400 is too small for a float64: expected a number from -1e+06"},
        {"rsf=-0.001e-330", "-0.001e-330 is too small for a float64"},
        {"rsf=1e400", "rsf=1e400: 1e400 is too large for a float64: expected a number from -1e+06"},
        {"limit=.1e-400", "is too small for a float64"},
        {"", "an empty case: expected name=value, as in M=32"},
        {" \t\n ", "an empty case"},
        {"filter=1.01", "from 0 to 1"},
        {"gated=2", "gated=2: expected 0 or 1 (false or true)"},
        {"gated=yes", "gated=yes"},
        {"act=swish", "act=swish: expected silu, gelu, gelu_tanh, relu2, swiglu_oai, silu_clamp, clamp_silu"},
        {"act=SILU", "act=SILU"},
        {"dtype=e4m3", "dtype=e4m3: expected bf16, fp16, fp32, fp64"},
        {"tile=64x64x32x8x4", "tile=64x64x32x8x4: expected auto, or BLOCK_SIZE_M"},
        {"tile=64x64x32x8x4x3x1", "tile="},
        {"tile=0x0x0x0x0x0", "tile="},
        {"tile=8x64x32x8x4x3", "tile="},
        {"tile=512x64x32x8x4x3", "tile="},
        {"tile=48x64x32x8x4x3", "tile="},
        {"tile=64x8x32x8x4x3", "tile="},
        {"tile=64x64x16x8x4x3", "tile="},
        {"tile=64x64x512x8x4x3", "tile="},
        {"tile=64x64x32x0x4x3", "tile="},
        {"tile=64x64x32x65537x4x3", "GROUP_SIZE_M (1..65536)"},
        {"tile=64x64x32x8x3x3", "num_warps (a power of two in 1..16)"},
        {"tile=64x64x32x8x32x3", "tile="},
        {"tile=64x64x32x8x4x9", "num_stages (1..8) as in 64x64x32x8x4x3"},
        {"M=1 M=2", "M is given twice"},
        {"M=1 M=1", "M is given twice"},
    };
    refuse(r, COUNT(r));
}

/* Not cut: a value that differs from a good one behind its 127th character is that value, and no other. */
static void long_words_are_named_in_full(void **unused) {
    (void)unused;
    mp_case c = mp_case_default();
    mp_error err;
    char text[800], word[600];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    word[0] = 'a', word[sizeof word - 2] = 'z';
    assert_int_equal(mp_case_parse(&c, word, &err), MP_EINPUT);
    assert_contains(err.text, word);
    snprintf(text, sizeof text, "M=32 act=%s", word);
    assert_int_equal(mp_case_parse(&c, text, &err), MP_EINPUT);
    assert_contains(err.text, text + strlen("M=32 "));
    assert_contains(err.text, "expected silu, gelu");
    snprintf(text, sizeof text, "K!=%s", word);
    bool matched;
    assert_int_equal(mp_case_match(&c, text, &matched, &err), MP_EINPUT);
    assert_contains(err.text, word);
    memset(text, '0', 200);
    memcpy(text, "M=", 2);
    strcpy(text + 200, "7x"); /* 198 zeros, and what makes it no number */
    assert_int_equal(mp_case_parse(&c, text, &err), MP_EINPUT);
    text[201] = '\0';
    assert_int_equal(mp_case_parse(&c, text, &err), MP_OK);
    assert_int_equal(c.M, 7);
}

static void impossible_combinations_are_refused(void **unused) {
    (void)unused;
    static const refusal r[] = {
        {"act=relu2", "add gated=0"},
        {"act=gelu_tanh gated=0", "use gated=1"},
        {"act=swiglu_oai gated=0", "use gated=1"},
        {"act=silu_clamp gated=0", "use gated=1"},
        {"act=clamp_silu gated=0", "use gated=1"},
        {"interleaved=1 gated=0", "interleaved=1 alternates gate and up rows"},
        {"alpha=1", "alpha means nothing to act=silu"},
        {"act=silu_clamp alpha=1", "alpha means nothing to act=silu_clamp"},
        {"act=gelu limit=10", "limit means nothing to act=gelu"},
        {"dtype=fp64", "add scope=combine"},
        {"fused_sum=1 topk=4 mode=no_combine", "use mode=combine, not mode=no_combine"},
        {"fused_sum=1 topk=4 mode=inplace", "not mode=inplace"},
        {"fused_sum=1 topk=2", "topk > 2 only: topk=2"},
        {"fused_sum=1 topk=4 path=runner", "use path=fused, not path=runner"},
        {"fused_sum=1 topk=4 path=chunked", "not path=chunked"},
        {"fused_sum=1 topk=4 layout=sorted", "use fused_sum=0"},
        {"fused_quant=1", "quant=none has no codes of activations"},
        {"fused_quant=1 quant=int4-w4a16", "quant=int4-w4a16 has no codes of activations"},
        {"fused_quant=1 quant=fp8-tensor", "quant=fp8-tensor has one scale for all rows"},
        {"fused_quant=1 quant=fp8-block path=runner",
         "leaves no cache2 to hooks and adapters: use path=fused"},
        {"fused_quant=1 quant=fp8-block lora_adapters=2", "use lora_adapters=0"},
        {"fused_quant=1 quant=fp8-block scope=quant_act", "remove fused_quant=1"},
        {"fused_sum=1 topk=33 E=64",
         "bf16, and 33 of them may err by 0.129 of the sum, too much to judge: use topk <= 32"},
        {"fused_sum=1 topk=257 E=512 dtype=fp16", "use topk <= 256"},
        {"layout=sorted path=runner", "layout=sorted cannot serve hooks or chunks"},
        {"layout=sorted path=chunked", "not path=chunked"},
        {"layout=masked path=runner", "layout=masked cannot serve hooks or chunks"},
        {"layout=masked topk=4 fused_sum=1", "layout=masked writes whole rows: use fused_sum=0"},
        {"layout=masked M=65536 E=65536", "layout=masked has 65536 rows for each of E=65536 experts"},
        {"scope=act layout=masked", "remove layout=masked"},
        {"mode=no_combine rsf=2", "use rsf=1"},
        {"no_combine_keep_router_weight=1", "a question of mode=no_combine: mode=combine applies"},
        {"mode=inplace no_combine_keep_router_weight=1", "mode=inplace applies"},
        {"mode=no_combine no_combine_keep_router_weight=1 apply_router_weight_on_input=1", "remove one"},
        {"apply_router_weight_in_combine=1 apply_router_weight_on_input=1", "on the input or in combine"},
        {"apply_router_weight_in_combine=1 mode=no_combine", "mode=no_combine has none"},
        {"apply_router_weight_in_combine=1 topk=4 fused_sum=1", "fused_sum=1 has none"},
        {"apply_router_weight_in_combine=1 scope=gate_up", "remove apply_router_weight_in_combine=1"},
        {"tile_down=64x64x32x8x4x3", "tile_down needs tile"},
        {"tile=64x64x32x8x4x3 tile_down=32x64x32x8x4x3", "BLOCK_SIZE_M 32 and tile has 64"},
        {"ep_rank=1", "ranks count from 0 to ep_size-1"},
        {"ep_size=4 ep_rank=4", "ep_rank=4 with ep_size=4"},
        {"ep_size=2 filter=0.5", "use filter=0 or ep_size=1"},
        {"expert_map=linear", "use ep_size > 1"},
        {"sentinel=E", "and here are none: use filter, routing=padded or"},
        {"sentinel=any ep_size=2 expert_map=linear", "here are none"},
        {"sentinel=0 filter=0.5", "sentinel=0: expected -1, E, any"},
        {"scope=combine filter=0.5 expert_map=block", "expected none, linear, round_robin"},
        {"E=65536 ep_size=32", "at most 1048576 experts"},
        {"topk=1 routing=duplicates", "use topk >= 2"},
        {"topk=9", "topk=9 distinct experts cannot be drawn from 8"},
        {"topk=5 routing=empty", "cannot be drawn from 4 (routing=empty)"},
        {"topk=9 routing=hot", "cannot be drawn from 8 (routing=hot)"},
        {"E=1 topk=1 routing=empty", "use E >= 2"},
        {"M=1073741824 topk=2", "sorted positions are 32-bit"},
        {"scope=align path=runner", "use path=fused or path=chunked"},
        {"scope=align K=96", "scope=align does not use K: remove K=96"},
        {"scope=align N=96", "remove N=96"},
        {"scope=align dtype=fp16", "remove dtype=fp16"},
        {"scope=align act=gelu", "remove act=gelu"},
        {"scope=align weight_row_gap=8", "remove weight_row_gap=8"},
        {"scope=act weight_expert_gap=8", "remove weight_expert_gap=8"},
        {"buffer_offset=64", "from 0 to 63"},
        {"scale_layout=column", "quant=none has no rows of scales"},
        {"scale_layout=row-padded quant=fp8-tensor", "quant=fp8-tensor has no rows of scales"},
        {"scale_layout=column quant=fp8-channel", "one scale a row: use scale_layout=row-padded"},
        {"scale_layout=swizzled quant=fp8-block-ue8m0", "use quant=mxfp4, mxfp8, nvfp4 or mxfp4-mxfp8"},
        {"scale_layout=swizzled quant=int4-w4a16", "use quant=mxfp4, mxfp8, nvfp4 or mxfp4-mxfp8"},
        {"scale_layout=column quant=fp8-block path=chunked", "use path=fused or runner"},
        {"scale_layout=column quant=fp8-block scope=act", "remove quant=fp8-block"},
        {"scale_layout=tiled quant=mxfp8", "expected row, row-padded, column, column-padded, swizzled"},
        {"scope=align bias=1", "remove bias=1"},
        {"scope=align mode=inplace", "remove mode=inplace"},
        {"scope=align layout=sorted", "remove layout=sorted"},
        {"scope=align data=wide", "remove data=wide"},
        {"scope=align rsf=2", "remove rsf=2"},
        {"scope=act shared=add", "scope=act does not use shared: remove shared=add"},
        {"scope=act shared=slot", "remove shared=slot"},
        {"scope=align shared=add", "remove shared=add"},
        {"scope=combine shared=slot", "remove shared=slot"},
        {"shared=add mode=no_combine", "use mode=combine or inplace"},
        {"shared=slot E=1 topk=1", "use E >= 2 and topk >= 2"},
        {"shared=slot topk=1", "use E >= 2 and topk >= 2"},
        {"shared=slot ep_size=2", "use ep_size=1"},
        {"shared=slot rsf=0", "rsf must not be 0"},
        {"shared=slot topk=9 E=8", "topk=8 distinct experts cannot be drawn from 7"},
        {"shared=slot topk=2 routing=duplicates", "use topk >= 3"},
        {"shared=slot E=2 topk=2 routing=empty", "use E >= 3"},
        {"scope=combine N=96", "scope=combine does not use N: remove N=96"},
        {"scope=combine mode=inplace", "remove mode=inplace"},
        {"scope=combine mode=no_combine", "remove mode=no_combine"},
        {"scope=combine path=chunked", "remove path=chunked"},
        {"scope=combine fused_sum=1 topk=4", "remove fused_sum=1"},
        {"scope=combine tile=64x64x32x8x4x3", "remove tile=64x64x32x8x4x3"},
        {"scope=combine gated=0", "remove gated=0"},
        {"scope=combine apply_router_weight_on_input=1", "remove apply_router_weight_on_input=1"},
    };
    refuse(r, COUNT(r));
}

/* The nearest possible neighbours of the refusals above. */
static void possible_combinations_are_accepted(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "act=relu2 gated=0",
        "act=gelu gated=0",
        "act=swiglu_oai alpha=1 limit=3 interleaved=1 bias=1",
        "act=clamp_silu limit=10",
        "dtype=fp64 scope=combine rsf=2.5 data=special filter=0.5",
        "fused_sum=1 topk=3 rsf=2.5 filter=0.5",
        "fused_sum=1 topk=32 E=32",
        "fused_sum=1 topk=256 E=256 dtype=fp16",
        "fused_sum=1 topk=1024 E=1024 dtype=fp32",
        "layout=sorted mode=inplace",
        "layout=masked mode=no_combine filter=0.5",
        "layout=masked M=32768 E=65535",
        "layout=sorted mode=no_combine",
        "layout=sorted mode=no_combine no_combine_keep_router_weight=1 path=fused",
        "tile=64x64x32x8x4x3 tile_down=64x256x256x1024x8x5",
        "tile=64x64x32x8x4x3",
        "apply_router_weight_in_combine=1 mode=inplace topk=1 shared=add",
        "apply_router_weight_in_combine=1 scope=combine dtype=fp64",
        "apply_router_weight_in_combine=1 scope=down",
        "ep_size=4 ep_rank=3 topk=32",
        "ep_size=4 ep_rank=3 expert_map=round_robin sentinel=E routing=padded",
        "ep_size=4 ep_rank=3 sentinel=any",
        "scope=align ep_size=2 expert_map=linear",
        "scope=act filter=1 sentinel=E",
        "topk=9 routing=first",
        "topk=9 routing=last",
        "topk=9 routing=duplicates",
        "topk=4 routing=empty",
        "M=1073740000 topk=2",
        "scope=align path=chunked M=70000 tile=16x64x64x1x4x3",
        "scope=combine routing=padded K=96",
        "path=chunked mode=no_combine",
        "shared=slot topk=8 E=8",
        "shared=slot topk=3 routing=duplicates mode=no_combine",
        "shared=slot scope=align",
        "shared=add topk=1 mode=inplace rsf=0",
        "shared=add scope=combine dtype=fp64",
        "shared=add topk=3 fused_sum=1 ep_size=2",
    };
    for (size_t i = 0; i < COUNT(texts); i++) parsed(texts[i]);
}

/* A case runs after another one of the same layer: what a call brings may differ, and nothing else. */
static void sequences_are_calls_of_one_layer(void **unused) {
    (void)unused;
    static const char *const may[] = {"M=9",    "M=0",       "routing=first",
                                      "seed=3", "filter=.5", "data=wide M=8 filter=1",
                                      "M=4"},
                             *const must_not[] = {"E=4",
                                                  "K=8",
                                                  "N=8",
                                                  "topk=1",
                                                  "dtype=fp32",
                                                  "path=runner",
                                                  "bias=1",
                                                  "act=gelu",
                                                  "layout=sorted",
                                                  "mode=inplace",
                                                  "rsf=2",
                                                  "gated=0",
                                                  "tile=64x64x32x8x4x3",
                                                  "ep_size=2",
                                                  "limit=2",
                                                  "scope=act"};
    const mp_case c = parsed("M=4");
    mp_error err = {0};
    for (size_t i = 0; i < COUNT(may); i++) {
        mp_case before = c;
        assert_int_equal(mp_case_parse(&before, may[i], &err), MP_OK);
        if (mp_case_validate_after(&c, &before, &err) != MP_OK) fail_msg("%s: %s", may[i], err.text);
    }
    for (size_t i = 0; i < COUNT(must_not); i++) {
        mp_case before = c;
        char start[64];
        if (mp_case_apply(&before, must_not[i], &err) != MP_OK) fail_msg("%s", err.text);
        snprintf(start, sizeof start, "%s instead of ", must_not[i]);
        assert_int_equal(mp_case_validate_after(&c, &before, &err), MP_EINPUT);
        if (strncmp(err.text, start, strlen(start)) != 0) fail_msg("%s: %s", must_not[i], err.text);
    }
    mp_case file = c;
    file.data = MP_FROM_FILE;
    assert_int_equal(mp_case_validate_after(&c, &file, &err), MP_EINPUT);
}

/* A pair asks for equal bits of one problem executed in two ways. */
static void pairs_are_the_same_problem(void **unused) {
    (void)unused;
    static const struct {
        const char *base, *variant,
            *refused; /* refused: the difference that the message names, NULL when it is a pair */
    } p[] = {
        {"M=4", "path=runner", NULL},
        {"M=4", "layout=sorted", NULL},
        {"M=4 layout=sorted", "layout=masked", NULL},
        {"M=4", "tile=64x64x32x8x4x3", NULL},
        {"M=4", "tile=64x64x32x8x4x3 tile_down=64x256x256x1024x8x5", NULL},
        {"M=4", "mode=inplace", NULL},
        {"M=4 mode=inplace", "mode=combine path=runner", NULL},
        {"M=4 mode=no_combine", "path=runner", NULL},
        {"M=4", "weight_row_gap=8 weight_expert_gap=1 layout=sorted", NULL},
        {"M=4 buffer_offset=3", "buffer_offset=0", NULL},
        {"M=4 quant=mxfp8", "scale_layout=swizzled", NULL},
        {"M=4", "M=4", NULL},
        {"M=4", "M=512", "M=512 instead of M=4"},
        {"M=4", "M=3", NULL},
        {"M=4", "M=3 tile=16x32x32x1x4x2 path=runner", NULL},
        {"M=4", "M=0", "M=0 instead of M=4"},
        {"M=4", "M=3 N=64", "M=3 instead of M=4"},
        {"M=4 scope=act", "M=3", "M=3 instead of M=4"},
        {"M=4", "seed=5", "seed=5 instead of seed=0"},
        {"M=4", "data=wide path=runner", "data=wide instead of data=normal"},
        {"M=4", "K=1024", "K=1024 instead"},
        {"M=4", "dtype=fp32", "dtype=fp32 instead"},
        {"M=4", "mode=no_combine", "mode=no_combine instead of mode=combine"},
        {"M=4 mode=no_combine", "mode=inplace", "mode=inplace instead of mode=no_combine"},
        {"M=4", "scope=align", "scope=align instead"},
        {"M=4", "interleaved=1", NULL},
        {"M=4 interleaved=1 bias=1 lora_adapters=2", "interleaved=0 path=runner", NULL},
        {"M=4", "interleaved=1 M=3", "interleaved=1 instead"},
        {"M=4 lora_adapters=2", "interleaved=1 lora_map=segments", "interleaved=1 instead"},
        {"M=4 quant=fp8-channel", "interleaved=1", "interleaved=1 instead"},
        {"M=4 scope=act", "interleaved=1", "interleaved=1 instead"},
        {"M=4", "interleaved=1 N=64", "interleaved=1 instead"},
        {"M=4", "apply_router_weight_in_combine=1", "apply_router_weight_in_combine=1 instead"},
        {"M=4 data=integer", "apply_router_weight_in_combine=1", NULL},
        {"M=4 data=integer dtype=fp16", "apply_router_weight_in_combine=1",
         "apply_router_weight_in_combine=1 instead"},
        {"M=4 data=onehot shared=slot rsf=2.5", "apply_router_weight_in_combine=1",
         "apply_router_weight_in_combine=1 instead"},
        {"M=4 data=integer scope=down", "apply_router_weight_in_combine=1",
         "apply_router_weight_in_combine=1 instead"},
        {"M=4", "bias=1", "bias=1 instead"},
        {"M=4", "gemm=wgmma", NULL},
        {"M=4 gemm=wgmma dtype=fp16", "gemm=mma path=runner", NULL},
        {"M=4 quant=int8-block", "gemm=wgmma", NULL},
        {"M=4 quant=fp8-channel", "gemm=mma", NULL},
        {"M=4 quant=fp8-channel", "fused_quant=1 layout=sorted", NULL},
        {"M=4 quant=fp8-channel", "gemm=wgmma", "gemm=wgmma instead of gemm=auto"},
        {"M=4 quant=fp8-block gemm=wgmma", "gemm=mma", "gemm=mma instead of gemm=wgmma"},
        {"M=4 topk=4", "fused_sum=1", "fused_sum=1 instead"},
        {"M=4", "routing=zipf", "routing=zipf instead"},
        {"M=4 E=8", "ep_size=4 E=2 expert_map=round_robin", NULL},
        {"M=4 ep_size=4", "expert_map=linear", "expert_map=linear instead of expert_map=none"},
        {"M=4 filter=0.5", "sentinel=E", "sentinel=E instead of sentinel=-1"},
        {"M=4", "shared=add", "shared=add instead"},
        {"M=4 shared=add", "N=32", "each of the parts would add shared_output"},
        {"M=4 shared=slot", "N=32", NULL},
    };
    for (size_t i = 0; i < COUNT(p); i++) {
        mp_error err = {0};
        const mp_case base = parsed(p[i].base);
        mp_case variant = base;
        assert_int_equal(mp_case_parse(&variant, p[i].variant, &err), MP_OK);
        const mp_status status = mp_case_validate_pair(&base, &variant, &err);
        if (status != (p[i].refused ? MP_EINPUT : MP_OK))
            fail_msg("'%s' of '%s': status %d, %s", p[i].variant, p[i].base, status, err.text);
        if (p[i].refused) assert_contains(err.text, p[i].refused);
    }
}

/* Values that no text can give: a case made by a program is checked as well. */
static void values_from_code_are_checked(void **unused) {
    (void)unused;
    mp_error err;
    mp_case c = mp_case_default();
    c.act = MP_ACTIVATION_COUNT;
    assert_int_equal(mp_case_validate(&c, &err), MP_EINPUT);
    assert_contains(err.text, "act=?");
    c = mp_case_default();
    c.dtype = MP_E4M3;
    assert_int_equal(mp_case_validate(&c, &err), MP_EINPUT);
    c = mp_case_default();
    c.rsf = (double)NAN;
    assert_int_equal(mp_case_validate(&c, &err), MP_EINPUT);
    c = mp_case_default();
    c.tile.num_warps = 4;
    assert_int_equal(mp_case_validate(&c, &err), MP_EINPUT);
    c = mp_case_default();
    c.M = -1;
    assert_int_equal(mp_case_validate(&c, &err), MP_EINPUT);
}

/* ---- matching ---- */

static void expressions_match(void **unused) {
    (void)unused;
    static const struct {
        const char *expr;
        bool matched;
    } e[] = {
        {"M=32", true},
        {"M=33", false},
        {"M!=32", false},
        {"M!=33", true},
        {"M<33", true},
        {"M<32", false},
        {"M<=32", true},
        {"M<=31", false},
        {"M>31", true},
        {"M>32", false},
        {"M>=32", true},
        {"M>=33", false},
        {"M<3000000000", true},
        {"rsf>2.4", true},
        {"rsf<2.5", false},
        {"rsf=2.50", true},
        {"act=silu", true},
        {"act!=silu", false},
        {"act=gelu", false},
        {"mode=combine", true},
        {"gated=1", true},
        {"tile=auto", true},
        {"tile!=auto", false},
        {"silu", true},
        {"gelu", false},
        {"rsf", true},
        {"filter", false},
        {"M=32 topk=2", true},
        {" M=32   topk=3 ", false},
        {"M=33 topk=2", false},
        {"silu M>1 rsf", true},
        {"K=512", true},
        {"model=Mixtral-8x7B", false},
        {"model!=Mixtral-8x7B M=32", true},
    };
    const mp_case c = parsed("rsf=2.5");
    for (size_t i = 0; i < COUNT(e); i++) {
        mp_error err;
        bool matched;
        if (mp_case_match(&c, e[i].expr, &matched, &err)) fail_msg("'%s': %s", e[i].expr, err.text);
        if (matched != e[i].matched) fail_msg("'%s' gives %d", e[i].expr, matched);
    }
}

static void bad_expressions_are_refused(void **unused) {
    (void)unused;
    static const refusal r[] = {
        {"X=1", "unknown field 'X'"},
        {"M=abc", "expected an integer"},
        {"M!1", "expected name=value, name!=value"},
        {"act<silu", "act is not a number"},
        {"gated>=1", "gated is not a number"},
        {"act=swish", "expected silu, gelu"},
        {"M=33 act=swish", "expected silu, gelu"}, /* a term after one that already failed is still checked */
        {"M==32", "M==32"},
        {"tile=3", "expected auto"},
        {"rsf>1e400", "1e400 is too large for a float64"},
        {"model=Qwen4", "model=Qwen4: no model of that name: expected one of Mixtral-8x7B, "},
        {"model!=x* M=32", "model=x*: no model of that name"},
        {"model=", "model=: no model of that name"},
        {"model=wen*", "no model of that name"},
        {"model<Kimi-K2", "model is a name: use model=Kimi-K2 or model!=Kimi-K2"},
        {"", "an empty match expression: expected terms"},
        {" \t ", "an empty match expression"},
    };
    const mp_case c = mp_case_default();
    for (size_t i = 0; i < COUNT(r); i++) {
        mp_error err;
        bool matched;
        if (mp_case_match(&c, r[i].text, &matched, &err) != MP_EINPUT)
            fail_msg("'%s' is accepted", r[i].text);
        assert_contains(err.text, r[i].message);
    }
}

/* ---- other forms ---- */

static void json_has_every_field(void **unused) {
    (void)unused;
    const mp_case c = parsed("M=7 rsf=2.5 act=gelu tile=64x64x32x8x4x3 gated=0");
    json_t *json = mp_case_json(&c);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), COUNT(choices));
    for (size_t f = 0; f < COUNT(choices); f++) assert_non_null(json_object_get(json, choices[f][0]));
    assert_int_equal(json_integer_value(json_object_get(json, "M")), 7);
    assert_true(json_real_value(json_object_get(json, "rsf")) == 2.5);
    assert_string_equal(json_string_value(json_object_get(json, "act")), "gelu");
    assert_string_equal(json_string_value(json_object_get(json, "tile")), "64x64x32x8x4x3");
    assert_string_equal(json_string_value(json_object_get(json, "tile_down")), "auto");
    assert_true(json_is_false(json_object_get(json, "gated")));
    json_decref(json);
}

static void count_line(void *ctx, const char *text) {
    size_t *count = ctx;
    char start[64];
    snprintf(start, sizeof start, "%s=", choices[*count][0]);
    assert_memory_equal(text, start, strlen(start));
    ++*count;
}

static void fields_are_described_in_order(void **unused) {
    (void)unused;
    size_t count = 0;
    mp_case_describe_fields(count_line, &count);
    assert_int_equal(count, COUNT(choices));
}

static void names(void **unused) {
    (void)unused;
    assert_string_equal(mp_activation_name(MP_CLAMP_SILU), "clamp_silu");
    assert_string_equal(mp_mode_name(MP_MODE_NO_COMBINE), "no_combine");
    assert_string_equal(mp_layout_name(MP_SORTED), "sorted");
    assert_string_equal(mp_path_name(MP_CHUNKED), "chunked");
    assert_string_equal(mp_scope_name(MP_SCOPE_COMBINE), "combine");
    assert_string_equal(mp_data_name(MP_LIMITS), "limits");
    assert_string_equal(mp_routing_name(MP_PADDED), "padded");
    assert_string_equal(mp_routing_name(MP_ROUTING_COUNT), "?");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_round_trips),
        cmocka_unit_test(canonical_text),
        cmocka_unit_test(reals_are_exact_in_any_locale),
        cmocka_unit_test(bad_values_are_refused),
        cmocka_unit_test(long_words_are_named_in_full),
        cmocka_unit_test(impossible_combinations_are_refused),
        cmocka_unit_test(possible_combinations_are_accepted),
        cmocka_unit_test(pairs_are_the_same_problem),
        cmocka_unit_test(sequences_are_calls_of_one_layer),
        cmocka_unit_test(values_from_code_are_checked),
        cmocka_unit_test(expressions_match),
        cmocka_unit_test(bad_expressions_are_refused),
        cmocka_unit_test(json_has_every_field),
        cmocka_unit_test(fields_are_described_in_order),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
