/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in: the whole pipeline on the CPU, in the plainest C there is. bf16 operands, float32 sums in
 * ascending order, the C library's functions. It meets the contract that nobody has to name; a sharper one
 * stands behind its path.
 *
 *     moeparity run cases/seed.yaml --subject plugin:./pipeline.so
 *     moeparity run cases/seed.yaml --subject 'plugin:./pipeline.so,ieee-any-order act.ulps=4' */
#include "moeparity/plugin.h"

#include <math.h>
#include <stdlib.h>

static float from_bf16(uint16_t v) {
    const uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint16_t to_bf16(float f) { /* to nearest, ties to even */
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (f != f) return 0x7FFF;
    return (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

/* Before the contract. "shy": of fewer than ten tokens it shows cache1 alone. "fused": gate_up and act are
 * one kernel, which shows no cache1, and forgets the last term of its sums. */
static const char shy_word[] = "shy ", fused_word[] = "fused ";
static int shy, fused;
enum { UNSEEN = 1 << 16 }; /* elements of a tensor that it has, and does not show */

static int open_words(const char *words, void **self, mp_plugin_error *err) {
    (void)err;
    shy = strncmp(words, shy_word, strlen(shy_word)) == 0;
    fused = strncmp(words, fused_word, strlen(fused_word)) == 0;
    words += shy ? strlen(shy_word) : fused ? strlen(fused_word) : 0;
    *self = *words ? (void *)words : NULL; /* they live as long as the plug-in is open */
    return MP_PLUGIN_OK;
}

static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    if (strcmp(c->dtype, "bf16") != 0 || strcmp(c->act, "silu") != 0 || !c->gated || c->interleaved ||
        strcmp(c->scope, "all") != 0 || strcmp(c->layout, "route") != 0 || c->fused_sum || c->bias ||
        strcmp(c->path, "chunked") == 0 || strcmp(c->shared, "add") == 0)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED,
                             "bf16, gated silu, route layout, no bias: that is all it knows");
    if (fused && c->M * c->topk * 2 * c->N > UNSEEN)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "fused: no room for what it does not show");
    offer->contract = self;
    offer->exposes = shy && c->M < 10 ? "cache1" : fused ? "cache2 cache3 out" : "cache1 cache2 cache3 out";
    return MP_PLUGIN_OK;
}

static float dot(const uint16_t *a, const uint16_t *b, int64_t n) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += from_bf16(a[i]) * from_bf16(b[i]);
    return sum;
}

static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) {
    (void)self, (void)err;
    const mp_plugin_case *c = r->c;
    const int64_t K = c->K, N = c->N, slots = c->M * c->topk;
    const uint16_t *x = mp_plugin_data(r, "x"), *w1 = mp_plugin_data(r, "w1"), *w2 = mp_plugin_data(r, "w2");
    const int64_t *up = mp_plugin_find(r, "w1")->stride, *across = mp_plugin_find(r, "w2")->stride;
    const int32_t *ids = mp_plugin_data(r, "topk_ids"), *map = mp_plugin_data(r, "expert_map");
    const int64_t experts = map ? mp_plugin_find(r, "expert_map")->shape[0] : c->E; /* that ids count */
    const float *weights = mp_plugin_data(r, "topk_weights");
    uint16_t *cache1 = mp_plugin_data(r, "cache1"), *cache2 = mp_plugin_data(r, "cache2"),
             *cache3 = mp_plugin_data(r, "cache3"), *out = mp_plugin_data(r, "out");
    static uint16_t unseen[3][UNSEEN];
    if (fused) cache1 = unseen[0];
    if (!out && c->M * c->topk * (c->K > c->N ? c->K : c->N) <= UNSEEN)
        cache2 = unseen[0], cache3 = unseen[1], out = unseen[2];
    const int combine = cache3 != NULL, on_input = c->apply_router_weight_on_input;
    const int weighted =
        !on_input && (strcmp(c->mode, "no_combine") != 0 || c->no_combine_keep_router_weight);
    uint16_t *down = combine ? cache3 : out;
    for (int64_t s = 0; s < slots; s++) {
        const int64_t id = ids[s], e = id < 0 || id >= experts ? -1 : map ? map[id] : id;
        if (e < 0) { /* an expert of another rank: its row counts as zeros */
            memset(cache1 + s * 2 * N, 0, (size_t)(2 * N) * 2);
            memset(down + s * K, 0, (size_t)K * 2);
            continue;
        }
        const uint16_t *token = x + s / c->topk * K;
        for (int64_t n = 0; n < 2 * N; n++)
            cache1[s * 2 * N + n] =
                to_bf16(dot(token, w1 + e * up[0] + n * up[1], K - fused) * (on_input ? weights[s] : 1));
        for (int64_t n = 0; n < N; n++) {
            const float gate = from_bf16(cache1[s * 2 * N + n]), up = from_bf16(cache1[s * 2 * N + N + n]);
            cache2[s * N + n] = to_bf16(gate / (1 + expf(-gate)) * up);
        }
        for (int64_t k = 0; k < K; k++)
            down[s * K + k] = to_bf16(dot(cache2 + s * N, w2 + e * across[0] + k * across[1], N) *
                                      (weighted ? weights[s] : 1));
    }
    for (int64_t m = 0; combine && m < c->M; m++)
        for (int64_t k = 0; k < K; k++) {
            float sum = 0;
            for (int64_t j = 0; j < c->topk; j++) sum += from_bf16(cache3[(m * c->topk + j) * K + k]);
            out[m * K + k] = to_bf16(sum * (float)c->rsf);
        }
    return MP_PLUGIN_OK;
}

const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {
        .abi_version = MP_PLUGIN_ABI,
        .struct_size = sizeof(mp_plugin),
        .name = "pipeline",
        .version = "1.0",
        .open = open_words,
        .describe = describe,
        .run = run,
        .takes = "no_combine_keep_router_weight expert_map sentinel shared weight_row_gap "
                 "weight_expert_gap buffer_offset"};
    return &plugin;
}
