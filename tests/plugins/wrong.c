/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in that misbehaves in the way that its words name: `plugin:./libwrong.so,crash-run`. Without words
 * it copies cache1 of scope=act through silu, rightly. */
#include "moeparity/plugin.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static char how[64];

static int is(const char *word) {
    return strcmp(how, word) == 0;
}

static void misbehave(const char *where) {
    char word[64];
    snprintf(word, sizeof word, "crash-%s", where);
    if (is(word)) abort();
    snprintf(word, sizeof word, "exit-%s", where);
    if (is(word)) _exit(0);
    snprintf(word, sizeof word, "hang-%s", where);
    while (is(word)) pause();
}

static int open_it(const char *words, void **self, mp_plugin_error *err) {
    snprintf(how, sizeof how, "%s", words);
    *self = how;
    misbehave("open");
    if (is("invalid")) return mp_plugin_say(err, MP_PLUGIN_INVALID, "no such word");
    if (is("not-here")) return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "needs another machine");
    return MP_PLUGIN_OK;
}

/* Scratch that is set up once, where it is new, and counts the rows that are done. */
typedef struct scratch {
    uint64_t mark;
    int64_t done;
} scratch;
#define MARK 0x6d6f657061726974u

static int all_done(scratch *s, int64_t rows) {
    if (s->mark != MARK) *s = (scratch){MARK, 0};
    s->done += rows;
    return s->done == rows;
}

static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    (void)self, (void)c;
    misbehave("describe");
    if (is("no-contract")) offer->contract = "sm_91";
    if (is("no-field")) offer->contract_fields = "act.ulp=2";
    if (is("no-value")) offer->contract_fields = "act.ulps";
    if (is("no-tensor")) offer->exposes = "cache4";
    if (is("no-output")) offer->exposes = "cache1";
    if (is("no-block")) offer->block_size_m = 7;
    if (is("no-stream")) offer->graphs = 1;
    if (is("no-reason")) return 99;
    if (is("unterminated")) {
        memset(err->text, 'x', sizeof err->text);
        return MP_PLUGIN_FAILED;
    }
    if (is("memory")) offer->host_bytes = (size_t)1 << 50;
    if (is("workspace")) offer->workspace_bytes[3] = 12;
    if (is("scratch")) offer->workspace_bytes[0] = sizeof(scratch);
    return MP_PLUGIN_OK;
}

static float from_bf16(uint16_t v) {
    const uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) {
    (void)self;
    const int64_t N = r->c->N, rows = r->c->M * r->c->topk;
    const mp_plugin_tensor *in = mp_plugin_find(r, "cache1"), *out = mp_plugin_find(r, "cache2");
    const uint16_t *cache1 = in->data;
    uint16_t *cache2 = out->data;
    misbehave("run");
    if (is("failed")) return mp_plugin_say(err, MP_PLUGIN_FAILED, "the kernel said no");
    if (is("late-words")) return mp_plugin_say(err, MP_PLUGIN_INVALID, "too late");
    for (int64_t s = 0; s < rows; s++)
        for (int64_t n = 0; n < N; n++) {
            const float gate = from_bf16(cache1[s * 2 * N + n]);
            cache2[s * N + n] = to_bf16(gate / (1 + expf(-gate)) * from_bf16(cache1[s * 2 * N + N + n]));
        }
    if (is("behind")) cache2[rows * N] = 0;
    if (is("before")) cache2[-1] = 0;
    if (is("workspace")) ((char *)r->workspace[3])[12] = 0;
    if (is("scratch") && !all_done(r->workspace[0], rows)) cache2[3] = 0;
    /* What survives the run, and spoils those to come: a flag, and wear. */
    static int many, runs;
    const int spoilt = many && r->c->M < 64;
    many = many || r->c->M >= 64;
    if (is("flag") && spoilt) cache2[3] = 0;
    if (is("flag-crash") && spoilt) abort();
    while (is("flag-hang") && spoilt) pause();
    if (is("worn") && ++runs > 8) cache2[3] = 0;
    if (is("input")) ((uint16_t *)in->data)[5] ^= 1;
    if (is("forgets")) cache2[3] = 0xFFF7;
    if (is("wrong")) cache2[3] = to_bf16(1.01f * from_bf16(cache2[3]) + 0.01f);
    return MP_PLUGIN_OK;
}

const mp_plugin *moeparity_plugin(void) {
    static mp_plugin plugin = {.abi_version = MP_PLUGIN_ABI,
                               .struct_size = sizeof(mp_plugin),
                               .name = "wrong",
                               .open = open_it,
                               .describe = describe,
                               .run = run};
    /* What is wrong before there are words: by the environment. */
    const char *variable = getenv("WRONG_PLUGIN"), *wrong = variable ? variable : "";
    if (strcmp(wrong, "null") == 0) return NULL;
    if (strcmp(wrong, "abi") == 0) plugin.abi_version = 2;
    if (strcmp(wrong, "size") == 0) plugin.struct_size = 16;
    if (strcmp(wrong, "name") == 0) plugin.name = NULL;
    if (strcmp(wrong, "run") == 0) plugin.run = NULL;
    if (strcmp(wrong, "words") == 0) plugin.open = NULL;
    if (strcmp(wrong, "device") == 0) plugin.device = "tpu";
    if (strcmp(wrong, "newer") == 0) plugin.struct_size = sizeof(mp_plugin) + 64;
    if (strcmp(wrong, "crash") == 0) abort();
    return &plugin;
}
