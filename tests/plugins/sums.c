/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in whose grouped GEMMs, gate_up and down alone, sum as an sm_90 does, bit for bit, and, by the words
 * behind its path, as one that errs along k:
 *
 * (none)      right: 16 terms a step, cut 25 bits below the largest drop=N      the last N terms of every
 * sum are not there forget=K    the accumulator is set to zero before term K split=K     two accumulators,
 * for the terms before K and from there on, are added at the end L=N         N terms a step tiny=E
 * products below 2^-E count as zero gone=K      term K counts twice where term 2*K is zero, and the last 16
 * terms are not there tile=1      by the tile: with 64 of BLOCK_SIZE_K and 8 warps the last 16 terms are not
 * there, with 5 stages the last one; 256 of BLOCK_SIZE_N do not fit beside 4 stages or more
 *     expert=E    of expert E alone, and of columns 16..31, the last 16 terms are not there
 *
 * Its contract is sm_90's whatever it does. */
#include "moeparity/plugin.h"

#include <math.h>
#include <stdlib.h>

typedef struct sums {
    int64_t drop, forget, split, step, tiny, gone, tile, expert;
} sums;

static int open_words(const char *words, void **self, mp_plugin_error *err) {
    sums *s = malloc(sizeof *s);
    const char *equals = strchr(words, '=');
    if (!s) return mp_plugin_say(err, MP_PLUGIN_FAILED, "no memory");
    *s = (sums){.forget = -1, .split = -1, .step = 16, .gone = -1};
    s->expert = -1;
    const struct {
        const char *name;
        int64_t *value;
    } known[] = {{"drop=", &s->drop}, {"forget=", &s->forget}, {"split=", &s->split},
                 {"L=", &s->step},    {"tiny=", &s->tiny},     {"gone=", &s->gone},
                 {"tile=", &s->tile}, {"expert=", &s->expert}};
    *self = s;
    for (size_t i = 0; equals && i < sizeof known / sizeof *known; i++)
        if (strncmp(words, known[i].name, strlen(known[i].name)) == 0) {
            *known[i].value = atoll(equals + 1);
            return MP_PLUGIN_OK;
        }
    return *words ? mp_plugin_say(err, MP_PLUGIN_INVALID, "expected one of the words of sums.c")
                  : MP_PLUGIN_OK;
}

static void close_words(void *self) {
    free(self);
}

static int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    (void)self;
    const int gate_up = strcmp(c->scope, "gate_up") == 0, down = strcmp(c->scope, "down") == 0;
    if (strcmp(c->dtype, "bf16") != 0 || !(gate_up || down) || strcmp(c->layout, "route") != 0 || c->bias ||
        c->apply_router_weight_on_input)
        return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED,
                             "bf16, scope=gate_up or down, route layout, no bias");
    offer->contract = "sm_90";
    return MP_PLUGIN_OK;
}

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

enum { ZERO = -133, FRACTION = 25 };

/* Significand and exponent of a finite number with `bits` of them behind the point, subnormals at emin. */
static int exponent_of(float f, int *significand, int fraction) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    const int exponent = (int)(bits >> 23 & 255);
    const uint32_t mantissa = (bits & 0x7FFFFF) | (exponent ? 0x800000 : 0);
    *significand = (int)(mantissa >> (23 - fraction));
    return *significand == 0 ? ZERO : (exponent ? exponent : 1) - 127;
}

/* Cuts magnitude * 2^-shift towards zero; a negative shift is exact. */
static int64_t cut(int64_t magnitude, int shift) {
    return shift >= 63 ? 0 : shift >= 0 ? magnitude >> shift : magnitude << -shift;
}

/* One step of a tensor core: the sum of up to 16 products and c, cut below 2^(largest exponent - 25). */
static float step(const sums *s, const uint16_t *a, const uint16_t *b, int64_t n, float c) {
    int64_t terms[64], sum = 0;
    int exponent[64], significand, most = ZERO;
    for (int64_t i = 0; i < n; i++) {
        const float x = from_bf16(a[i]), w = from_bf16(b[i]);
        int p, q;
        const int e = exponent_of(x, &p, 7) + exponent_of(w, &q, 7);
        const int zero = p == 0 || q == 0 || (s->tiny && e < -s->tiny);
        terms[i] = zero ? 0 : (signbit(x) != 0) != (signbit(w) != 0) ? -(int64_t)p * q : (int64_t)p * q;
        exponent[i] = zero ? ZERO : e;
        if (exponent[i] > most) most = exponent[i];
    }
    const int of_c = exponent_of(c, &significand, 23);
    if (of_c > most) most = of_c;
    for (int64_t i = 0; i < n; i++) { /* 14 bits behind the point become 25 */
        const int64_t magnitude = cut(llabs(terms[i]) << (FRACTION - 14), most - exponent[i]);
        sum += terms[i] < 0 ? -magnitude : magnitude;
    }
    const int64_t magnitude = cut((int64_t)significand << (FRACTION - 23), most - of_c);
    sum += signbit(c) ? -magnitude : magnitude;
    int bits = 0;
    while (llabs(sum) >> bits) bits++;
    if (bits > 24) sum = (sum < 0 ? -1 : 1) * (llabs(sum) >> (bits - 24) << (bits - 24));
    return sum == 0 ? 0.0f : (float)ldexp((double)sum, most - FRACTION);
}

static float part(const sums *s, const uint16_t *a, const uint16_t *b, int64_t from, int64_t to) {
    float sum = 0;
    for (int64_t k = from; k < to;) {
        int64_t n = s->step - (k - from) % s->step; /* a step ends where the accumulator is reset, too */
        if (n > to - k) n = to - k;
        if (k < s->forget && s->forget < k + n) n = s->forget - k;
        if (k == s->forget) sum = 0;
        sum = step(s, a + k, b + k, n, sum);
        k += n;
    }
    return sum;
}

static float dot(const sums *s, const uint16_t *a, const uint16_t *b, int64_t n) {
    const int64_t end = n - (s->gone >= 0 ? 16 : s->drop);
    if (s->gone >= 0 && a[2 * s->gone] << 1 == 0)
        return part(s, a, b, 0, end) + from_bf16(a[s->gone]) * from_bf16(b[s->gone]);
    if (s->split < 0) return part(s, a, b, 0, end);
    return part(s, a, b, 0, s->split) + part(s, a, b, s->split, end);
}

/* What a kernel would do that is broken for some tiles. */
static int use_tile(sums *s, const char *tile, mp_plugin_error *err) {
    int n, k, warps, stages;
    if (sscanf(tile, "%*dx%dx%dx%*dx%dx%d", &n, &k, &warps, &stages) != 4)
        return mp_plugin_say(err, MP_PLUGIN_FAILED, "what tile is that?");
    if (n == 256 && stages >= 4) return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, "shared memory: too much");
    s->drop = k == 64 && warps == 8 ? 16 : stages == 5;
    return MP_PLUGIN_OK;
}

static int run(void *self, const mp_plugin_run *r, mp_plugin_error *err) {
    const mp_plugin_case *c = r->c;
    const int up = strcmp(c->scope, "gate_up") == 0;
    const int refused =
        ((sums *)self)->tile ? use_tile(self, up ? r->tile : r->tile_down, err) : MP_PLUGIN_OK;
    if (refused) return refused;
    const mp_plugin_tensor *in = mp_plugin_find(r, up ? "x" : "cache2"),
                           *w = mp_plugin_find(r, up ? "w1" : "w2"), *cache3 = mp_plugin_find(r, "cache3");
    uint16_t *out = up ? mp_plugin_data(r, "cache1") : cache3 ? cache3->data : mp_plugin_data(r, "out");
    const int32_t *ids = mp_plugin_data(r, "topk_ids");
    const float *weights = mp_plugin_data(r, "topk_weights");
    const int weighted = !up && (strcmp(c->mode, "no_combine") != 0 || c->no_combine_keep_router_weight);
    const int64_t terms = w->shape[2], columns = w->shape[1];
    for (int64_t slot = 0; slot < c->M * c->topk; slot++) {
        if (ids[slot] < 0) {
            memset(out + slot * columns, 0, (size_t)columns * 2);
            continue;
        }
        const uint16_t *row = (const uint16_t *)in->data + (up ? slot / c->topk : slot) * terms;
        for (int64_t n = 0; n < columns; n++) {
            const uint16_t *weight = (const uint16_t *)w->data + ids[slot] * w->stride[0] + n * w->stride[1];
            sums here = *(const sums *)self;
            if (here.expert >= 0) here.drop = ids[slot] == here.expert && n / 16 == 1 ? 16 : 0;
            const float sum = dot(&here, row, weight, terms);
            out[slot * columns + n] = to_bf16(weighted ? sum * weights[slot] : sum);
        }
    }
    return MP_PLUGIN_OK;
}

const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {.abi_version = MP_PLUGIN_ABI,
                                     .struct_size = sizeof(mp_plugin),
                                     .name = "sums",
                                     .version = "1.0",
                                     .open = open_words,
                                     .close = close_words,
                                     .describe = describe,
                                     .run = run,
                                     .takes = "no_combine_keep_router_weight"};
    return &plugin;
}
