/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const mp_loader mp_loaders[MP_LOADER_COUNT] = {
    [MP_LOADER_SGLANG] = {.name = "sglang",
                          .variable = "SGLANG_MOE_CONFIG_DIR",
                          .below_variable = "configs",
                          .own_folder = "srt/layers/moe/moe_runner/triton_utils/configs",
                          .off = "deterministic inference",
                          .device_blanks = " ",
                          .block_separator = ", ",
                          .flat_names = "",
                          .variable_replaces = true,
                          .versioned = true,
                          .per_channel = true,
                          .down_files = true,
                          .packed_int4 = 2},
    [MP_LOADER_VLLM] = {.name = "vllm",
                        .variable = "VLLM_TUNED_CONFIG_FOLDER",
                        .below_variable = "",
                        .own_folder = "model_executor/layers/fused_moe/configs",
                        .off = "batch-invariant mode",
                        .off_variable = "VLLM_BATCH_INVARIANT",
                        .device_blanks = " \t\n\v\f\r/",
                        .device_family = "H200",
                        .family_name = "NVIDIA_H200",
                        .block_separator = ",",
                        .flat_names = ",dtype=int4_w4a16,backend=flydsl.json",
                        .blanks_run = true,
                        .takes_version_out = true,
                        .clamps_block_k = true,
                        .packed_int4 = 1}, /* the packed half is doubled again */
};

const char *const mp_tuned_dtypes = "fp8_w8a8 int8_w8a8 int8_w8a16 int4_w4a16 float32";

/* ---- names ---- */

void mp_tuned_device(const mp_loader *loader, const char *device, char name[MP_DEVICE_NAME_MAX + 1]) {
    char words[MP_DEVICE_NAME_MAX + 3], family[32];
    size_t used = 0;
    for (const char *s = device; *s && used < MP_DEVICE_NAME_MAX; s++) {
        const bool blank = strchr(loader->device_blanks, *s);
        if (blank && loader->blanks_run && s > device && strchr(loader->device_blanks, s[-1])) continue;
        name[used++] = blank ? '_' : *s;
    }
    name[used] = '\0';
    if (!loader->device_family) return;
    snprintf(words, sizeof words, "_%s_", name);
    snprintf(family, sizeof family, "_%s_", loader->device_family);
    if (strstr(words, family)) strcpy(name, loader->family_name);
}

void mp_tuned_name(const mp_loader *loader, const mp_tuned_key *key, bool down,
                   char name[MP_TUNED_NAME_SIZE]) {
    char device[MP_DEVICE_NAME_MAX + 1], block[64] = "";
    mp_tuned_device(loader, key->device, device);
    const int64_t packed = strcmp(key->dtype, "int4_w4a16") == 0 ? loader->packed_int4 : 1;
    if (key->block_n && key->block_k)
        snprintf(block, sizeof block, ",block_shape=[%lld%s%lld]", (long long)key->block_n,
                 loader->block_separator, (long long)key->block_k);
    snprintf(name, MP_TUNED_NAME_SIZE, "E=%lld,N=%lld,device_name=%s%s%.31s%s%s%s.json", (long long)key->E,
             (long long)(key->N / packed), device, *key->dtype ? ",dtype=" : "", key->dtype, block,
             loader->per_channel && key->per_channel ? ",per_channel_quant=True" : "",
             loader->down_files && down ? "_down" : "");
}

/* Skips `text` at *at. */
static bool skip(const char **at, const char *text) {
    const size_t length = strlen(text);
    if (strncmp(*at, text, length) != 0) return false;
    *at += length;
    return true;
}

static bool take_number(const char **at, int64_t *number) {
    const size_t digits = strspn(*at, "0123456789");
    if (digits == 0 || digits > 18) return false;
    *number = strtoll(*at, NULL, 10);
    *at += digits;
    return true;
}

/* The text up to a comma or the end. */
static bool take_word(const char **at, const char *end, char *word, size_t size) {
    const char *comma = memchr(*at, ',', (size_t)(end - *at));
    const size_t length = (size_t)((comma ? comma : end) - *at);
    if (length >= size) return false;
    memcpy(word, *at, length);
    word[length] = '\0';
    *at += length;
    return true;
}

bool mp_tuned_parse(const char *name, mp_tuned_parts *parts) {
    static const char json[] = ".json", down[] = "_down";
    const size_t length = strlen(name);
    const char *at = name, *end = name + length - (sizeof json - 1);
    *parts = (mp_tuned_parts){0};
    if (length < sizeof json || strcmp(end, json) != 0) return false;
    if ((size_t)(end - name) > sizeof down - 1 &&
        memcmp(end - (sizeof down - 1), down, sizeof down - 1) == 0) {
        parts->down = true;
        end -= sizeof down - 1;
    }
    if (!(skip(&at, "E=") && take_number(&at, &parts->E) && skip(&at, ",N=") && take_number(&at, &parts->N) &&
          skip(&at, ",device_name=") && at <= end &&
          take_word(&at, end, parts->device, sizeof parts->device))) {
        *parts = (mp_tuned_parts){0};
        return false;
    }
    while (at < end) {
        if (skip(&at, ",dtype=") && take_word(&at, end, parts->dtype, sizeof parts->dtype)) continue;
        if (skip(&at, ",block_shape=[") && take_number(&at, &parts->block_n)) {
            at += strspn(at, " ,");
            if (take_number(&at, &parts->block_k) && skip(&at, "]")) continue;
        }
        if (skip(&at, ",per_channel_quant=True")) {
            parts->per_channel = true;
            continue;
        }
        parts->other = true;
        const char *comma = memchr(at + 1, ',', (size_t)(end - at - 1));
        at = comma ? comma : end;
    }
    return true;
}

mp_tuned_key mp_tuned_key_of(const mp_tuned_parts *parts) {
    return (mp_tuned_key){parts->E,       parts->N,       parts->device,     parts->dtype,
                          parts->block_n, parts->block_k, parts->per_channel};
}
