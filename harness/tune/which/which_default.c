/* SPDX-License-Identifier: Apache-2.0 */
/* The built-in defaults of the public loaders: get_default_config of both packages, as of sglang 0.5.23 and
 * vLLM 0.33.0. */
#include "harness/tune/device.h"
#include "harness/tune/which/which.h"

#include <string.h>

enum { SMALL_SHARED = 128 * 1024 };

static bool is(const mp_tuned_key *key, const char *dtype) {
    return strcmp(key->dtype, dtype) == 0;
}

static mp_tile sglang_default(const mp_tuned_key *key, int64_t M, bool off, const mp_device_facts *device) {
    const mp_tile many = {64, 64, 32, 8, 4, 3}, few = {16, 32, 64, 1, 4, 3};
    const bool rocm = device->vendor == MP_AMD;
    if (off) return many;
    if (!is(key, "fp8_w8a8")) return M <= key->E ? few : many;
    if (key->block_n && key->block_k)
        return (mp_tile){64, (int)key->block_n, (int)key->block_k, 32, 4, rocm ? 2 : 3};
    if (!rocm && device->shared_bytes && device->shared_bytes < SMALL_SHARED)
        return M <= key->E ? (mp_tile){32, 64, 256, 1, 4, 4} : (mp_tile){64, 128, 256, 64, 4, 2};
    return M <= key->E ? (mp_tile){64, 128, 128, 1, 4, rocm ? 2 : 4}
                       : (mp_tile){128, 256, 128, 32, 8, rocm ? 2 : 4};
}

/* Tiles that grow with M. */
static mp_tile vllm_default(const mp_tuned_key *key, int64_t M, bool off, const mp_device_facts *device) {
    const bool fp8 = is(key, "fp8_w8a8"), rocm = device->vendor == MP_AMD;
    if (off) return (mp_tile){64, 64, 32, 8, 4, 3};
    if (fp8 && key->block_n && key->block_k) {
        const bool narrow = !rocm && M <= 8 && key->block_n % 64 == 0;
        return (mp_tile){M <= 64 ? 16 : 64,
                         narrow ? 64 : (int)key->block_n,
                         (int)key->block_k,
                         M <= 16 ? 1 : 32,
                         4,
                         rocm               ? 2
                         : narrow && M <= 4 ? 4
                                            : 3};
    }
    return (mp_tile){M <= 32    ? 16
                     : M <= 96  ? 32
                     : M <= 512 ? 64
                                : 128,
                     M <= 64 ? 64 : 128,
                     fp8 || M <= 64 ? 128 : 64,
                     M / key->E > 128 ? 16 : 1,
                     M <= 128 ? 4 : 8,
                     rocm      ? 2
                     : M <= 32 ? 4
                               : 3};
}

void mp_which_default(const mp_loader *loader, const mp_tuned_key *key, int64_t M, bool off, mp_text *text) {
    char tile[64];
    const mp_device_facts device = mp_device_by_name(key->device);
    const bool vllm = loader == &mp_loaders[MP_LOADER_VLLM],
               weights_only = is(key, "int4_w4a16") || is(key, "int8_w8a16");
    if (vllm && !off && weights_only && key->block_k) {
        mp_text_add(text, "chosen at launch");
        return;
    }
    const mp_tile t = vllm ? vllm_default(key, M, off, &device) : sglang_default(key, M, off, &device);
    mp_tile_text(&t, tile);
    mp_text_add(text, "%s", tile);
}
