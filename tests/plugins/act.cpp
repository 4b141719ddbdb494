/* SPDX-License-Identifier: Apache-2.0 */
// A plug-in in C++: the activation alone, with scratch memory that the harness gives it.
// moeparity run --case 'M=64 scope=act' --subject plugin:./libact.so
#include "moeparity/plugin.h"

#include <cmath>
#include <cstring>
#include <string>

namespace {

struct state {
    std::string said;
};

float decode(std::uint16_t v) {
    const std::uint32_t bits = std::uint32_t{v} << 16;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
}

std::uint16_t encode(float f) {
    std::uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    if (std::isnan(f)) return 0x7FFF;
    return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

int open(const char *words, void **self, mp_plugin_error *err) {
    if (*words) return mp_plugin_say(err, MP_PLUGIN_INVALID, "it takes no words");
    *self = new state;
    return MP_PLUGIN_OK;
}

int describe(void *self, const mp_plugin_case *c, mp_plugin_offer *offer, mp_plugin_error *err) {
    auto &s = *static_cast<state *>(self);
    const bool known = std::string(c->scope) == "act" && std::string(c->dtype) == "bf16" && c->gated &&
                       !c->interleaved && std::string(c->act) == "silu" && std::string(c->layout) == "route";
    s.said = "scope=act with bf16, gated silu and route layout, not " + std::string(c->text);
    if (!known) return mp_plugin_say(err, MP_PLUGIN_UNSUPPORTED, s.said.c_str());
    offer->contract = "ieee-any-order";
    offer->contract_fields = "act.ulps=4 act.filtered=untouched";
    offer->workspace_bytes[0] = static_cast<std::size_t>(c->N) * sizeof(float);
    return MP_PLUGIN_OK;
}

int run(void *, const mp_plugin_run *r, mp_plugin_error *) {
    const auto *cache1 = static_cast<const std::uint16_t *>(mp_plugin_data(r, "cache1"));
    const auto *ids = static_cast<const std::int32_t *>(mp_plugin_data(r, "topk_ids"));
    auto *cache2 = static_cast<std::uint16_t *>(mp_plugin_data(r, "cache2"));
    auto *row = static_cast<float *>(r->workspace[0]);
    const std::int64_t N = r->c->N;
    for (std::int64_t s = 0; s < r->c->M * r->c->topk; s++) {
        if (ids[s] < 0) continue;
        for (std::int64_t n = 0; n < N; n++) {
            const float gate = decode(cache1[s * 2 * N + n]);
            row[n] = gate / (1 + std::exp(-gate)) * decode(cache1[s * 2 * N + N + n]);
        }
        for (std::int64_t n = 0; n < N; n++) cache2[s * N + n] = encode(row[n]);
    }
    return MP_PLUGIN_OK;
}

void close(void *self) {
    delete static_cast<state *>(self);
}

} // namespace

const mp_plugin *moeparity_plugin(void) {
    static const mp_plugin plugin = {MP_PLUGIN_HEAD, "act", "1.0", nullptr, open,
                                     describe,       run,   close, nullptr};
    return &plugin;
}
