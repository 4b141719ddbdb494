/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity tune which: the tuned file and key that each public loader picks, and why. */
#include "cli/common.h"

#include "harness/tune/which/which.h"
#include "reports/which.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 1 << 16 };

/* "1,16,4096", or "all": *M is NULL then. */
static mp_status read_tokens(const char *text, int64_t **M, size_t *count, mp_error *err) {
    *M = NULL;
    *count = 0;
    if (strcmp(text, "all") == 0) return MP_OK;
    *M = calloc(strlen(text) + 1, sizeof **M);
    if (!*M) return mp_fail(err, MP_EMEMORY, "no memory for --M");
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        const long long number = strtoll(at, &end, 10);
        if (*at < '0' || *at > '9' || errno || number < 1 || (*end && *end != ',') || *count == MOST_TOKENS)
            return mp_fail(
                err, MP_EINPUT,
                "--M %.60s: expected all, or at most %d numbers from 1 on with commas between them", text,
                MOST_TOKENS);
        (*M)[(*count)++] = number;
        if (!*end) return MP_OK;
        at = end;
    }
}

static mp_status read_block(const char *text, mp_tuned_key *key, mp_error *err) {
    char *end = NULL;
    if (!text) return MP_OK;
    errno = 0;
    key->block_n = strtoll(text, &end, 10);
    const bool first = end > text && *end == ',' && key->block_n > 0;
    char *second = end + (*end == ',');
    key->block_k = first ? strtoll(second, &end, 10) : 0;
    if (!first || end == second || *end || errno || key->block_k < 1 || key->block_n > 65536 ||
        key->block_k > 65536)
        return mp_fail(err, MP_EINPUT,
                       "--block-shape %.60s: expected two numbers from 1 to 65536, as 128,128", text);
    return MP_OK;
}

static mp_status read_query(const mp_args *args, mp_which_query *q, int64_t **M, mp_error *err) {
    const char *dtype = mp_args_text(args, MP_OPT_TUNE_DTYPE),
               *device = mp_args_text(args, MP_OPT_TUNE_DEVICE),
               *triton = mp_args_text(args, MP_OPT_TUNE_TRITON);
    if (!device || !mp_args_given(args, MP_OPT_TUNE_E) || !mp_args_given(args, MP_OPT_TUNE_N))
        return mp_fail(err, MP_EINPUT, "tune which: --%s is missing: expected --device NAME --E E --N N",
                       !device                               ? "device"
                       : !mp_args_given(args, MP_OPT_TUNE_E) ? "E"
                                                             : "N");
    if (strlen(device) > MP_DEVICE_NAME_MAX)
        return mp_fail(err, MP_EINPUT, "--device %.40s...: %zu characters; expected at most %d", device,
                       strlen(device), MP_DEVICE_NAME_MAX);
    if (triton && (strlen(triton) > 32 || !mp_triton_version_valid(triton)))
        return mp_fail(err, MP_EINPUT, "--triton %.40s: expected numbers as in 3.6.0", triton);
    /* bf16 and fp16 have no part in a name */
    const bool plain = strcmp(dtype, "bf16") == 0 || strcmp(dtype, "fp16") == 0;
    q->key = (mp_tuned_key){.E = mp_args_number(args, MP_OPT_TUNE_E),
                            .N = mp_args_number(args, MP_OPT_TUNE_N),
                            .device = device,
                            .dtype = plain                        ? ""
                                     : strcmp(dtype, "fp32") == 0 ? "float32"
                                                                  : dtype,
                            .per_channel = mp_args_given(args, MP_OPT_PER_CHANNEL)};
    if (strcmp(dtype, "int4_w4a16") == 0 && q->key.N % 2)
        return mp_fail(err, MP_EINPUT,
                       "--N %lld: expected an even number, for two of int4_w4a16 lie in a byte",
                       (long long)q->key.N);
    q->triton = triton ? triton : "";
    q->folder[MP_LOADER_SGLANG] = mp_args_text(args, MP_OPT_SGLANG);
    q->folder[MP_LOADER_VLLM] = mp_args_text(args, MP_OPT_VLLM);
    q->off = mp_args_given(args, MP_OPT_LOADER_OFF);
    mp_status status = read_block(mp_args_text(args, MP_OPT_BLOCK_SHAPE), &q->key, err);
    if (status == MP_OK) status = read_tokens(mp_args_text(args, MP_OPT_TUNE_M), M, &q->M_count, err);
    q->M = *M;
    return status;
}

int mp_cmd_tune_which(const mp_args *args) {
    const char *json = mp_args_text(args, MP_OPT_JSON);
    mp_which_query query = {0};
    mp_which which[MP_LOADER_COUNT] = {0};
    mp_error err = {0};
    int64_t *M = NULL;
    bool any = false, all = true;
    mp_status status = mp_cli_output(json, NULL, 0, &err);
    if (status == MP_OK) status = read_query(args, &query, &M, &err);
    for (int i = 0; status == MP_OK && i < MP_LOADER_COUNT; i++) {
        status = mp_which_ask(&query, (mp_loader_id)i, &which[i], &err);
        any = any || which[i].root_count;
        all = all && (!which[i].root_count ||
                      (which[i].up.outcome == MP_WHICH_FILE && which[i].down.outcome != MP_WHICH_RAISES));
    }
    if (status == MP_OK && !any)
        status = mp_fail(
            &err, MP_EINPUT,
            "no folder to look into: give --sglang DIR or --vllm DIR, or set %s or %s, or install one "
            "of the packages",
            mp_loaders[MP_LOADER_SGLANG].variable, mp_loaders[MP_LOADER_VLLM].variable);
    for (int i = 0; status == MP_OK && i < MP_LOADER_COUNT; i++)
        mp_report_which_text(stdout, &query, &which[i]);
    if (status == MP_OK && json) status = mp_report_which_json(json, &query, which, MP_LOADER_COUNT, &err);
    for (int i = 0; i < MP_LOADER_COUNT; i++) mp_which_free(&which[i]);
    free(M);
    if (status != MP_OK) return mp_cli_fail(&err);
    return all ? MP_EXIT_OK : MP_EXIT_FAILURE;
}
