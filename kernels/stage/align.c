/* SPDX-License-Identifier: Apache-2.0 */
/* align: kernels/device/align.cu, whose entries share one compilation. */
#include "cases/graph_tables.h"
#include "cases/numbering.h"
#include "kernels/device/params.h"
#include "kernels/stage/stage.h"

enum { ALIGN_COUNTS, ALIGN_OFFSETS };
_Static_assert(ALIGN_OFFSETS + 1 == MP_CUDA_SCRATCH_COUNT, "the scratch is align's");

/* Align cuts the slots of a full chunk into segments, a warp each. */
typedef struct segments {
    int64_t count, slots; /* of a segment: a multiple of 32 */
    int64_t count_row;    /* counts of a key, in the table of counts */
} segments;

/* At most so many of them, of `least` slots each where there are enough. */
static segments cut(int64_t slots, int64_t least, int64_t most) {
    if (slots == 0) return (segments){.slots = 32};
    const int64_t wanted = mp_smaller(mp_divide_up(slots, least), most > 1 ? most : 1),
                  each = mp_divide_up(mp_divide_up(slots, wanted), 32) * 32,
                  count = mp_divide_up(slots, each);
    return (segments){.count = count, .slots = each, .count_row = count};
}

/* Enough to fill the device, but no more than keep the table of counts below 2^24 entries, if it has not more
 * keys. */
static segments of_grid(int64_t keys, int64_t slots) {
    return cut(slots, 128, mp_smaller((INT64_C(1) << 24) / keys, 8192));
}

enum { BLOCK_THREADS = 1024, BLOCK_SLOTS = 4096 }; /* more slots than that, and the whole device is faster */

/* Those of one block that does all; false: it takes longer, or has no room. Rows of counts have an odd
 * length, so that the first counts of 32 keys lie in as many banks of its memory. */
static bool of_block(int64_t lists, int64_t experts, int64_t slots, segments *found) {
    const int64_t keys = lists * (experts + 1);
    if (slots > BLOCK_SLOTS || keys > MP_ALIGN_COUNTS_IN_BLOCK || keys + lists > MP_ALIGN_OFFSETS_IN_BLOCK)
        return false;
    const int64_t room = (MP_ALIGN_COUNTS_IN_BLOCK / keys - 1) / 2 * 2 + 1; /* odd */
    *found = cut(slots, 32, mp_smaller(room, BLOCK_THREADS / 32 - 1));
    found->count_row = found->count | 1;
    return true;
}

/* Lists that are made one after the other have the scratch in turn. */
static void make_room(int64_t lists, int64_t experts, int64_t slots, size_t bytes[MP_CUDA_SCRATCH_COUNT]) {
    segments block;
    const int64_t keys = lists * (experts + 1);
    const size_t counts = (size_t)(keys * of_grid(keys, slots).count_row) * 4,
                 offsets = (size_t)(keys + lists) * 4;
    if (of_block(lists, experts, slots, &block)) return;
    if (counts > bytes[ALIGN_COUNTS]) bytes[ALIGN_COUNTS] = counts;
    if (offsets > bytes[ALIGN_OFFSETS]) bytes[ALIGN_OFFSETS] = offsets;
}

void mp_cuda_scratch(const mp_case *c, size_t bytes[MP_CUDA_SCRATCH_COUNT]) {
    const int64_t full = mp_case_chunk_tokens(c, 0) * c->topk;
    bytes[ALIGN_COUNTS] = bytes[ALIGN_OFFSETS] = 0;
    if (!mp_case_has_stage(c, MP_ALIGN)) return;
    make_room(1, c->E, full, bytes);
    if (mp_case_has_lora(c)) make_room(c->lora_adapters, c->E, full, bytes);
}

mp_ids_params mp_stage_ids(const mp_case *c, const mp_tensor t[MP_TENSOR_COUNT]) {
    return (mp_ids_params){.topk_ids = mp_device_address(&t[MP_TOPK_IDS]),
                           .expert_map = mp_device_address(&t[MP_EXPERT_MAP]),
                           .counted = (int)mp_case_counted_experts(c)};
}

_Static_assert(MP_SORTED == 1 && MP_MASKED == 2, "LAYOUT_SORTED and LAYOUT_MASKED of rows.cuh");

mp_rows_params mp_stage_rows(const mp_stage_call *call, int64_t count) {
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const bool sorted = c->layout == MP_SORTED;
    return (mp_rows_params){
        .ids = mp_stage_ids(c, t),
        .expert_ids = sorted ? mp_device_address(&t[MP_EXPERT_IDS]) : 0,
        .sorted_token_ids = sorted ? mp_device_address(&t[MP_SORTED_TOKEN_IDS]) : 0,
        .num_tokens_post_padded = sorted ? mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]) : 0,
        .masked_m = mp_device_address(&t[MP_MASKED_M]),
        .count = count,
        .slots = mp_case_slots(c),
        .max_m = mp_case_max_m(c),
        .block_size_m = call->block_size_m,
    };
}

mp_kernel mp_kernel_align(const char *entry) {
    return mp_make_kernel("kernels/device/align.cu", entry, "%s", "");
}

static void set_segments(mp_align_params *params, const segments *of) {
    params->segments = of->count;
    params->segment_slots = of->slots;
    params->count_row = of->count_row;
}

/* By one block, or in steps of the whole device. */
static mp_status launch_steps(const mp_device_run *run, int64_t keys, mp_align_params *params,
                              mp_error *err) {
    const mp_driver *driver = run->cuda->driver;
    mp_status status = MP_OK;
    segments block;
    const int warps = MP_STAGE_THREADS / 32;
    if (of_block(params->lists, params->num_experts, params->slots, &block)) {
        const mp_kernel kernel = mp_kernel_align("align_in_one_block");
        set_segments(params, &block);
        return mp_stage_launch(run, &kernel, 1, BLOCK_THREADS, params, err);
    }
    const segments grid = of_grid(keys, params->slots);
    set_segments(params, &grid);
    const struct {
        const char *entry;
        int64_t blocks;
        int threads;
    } steps[] = {
        {"align_count", mp_divide_up(grid.count, warps), MP_STAGE_THREADS},
        {"align_scan_segments", mp_divide_up(keys, warps), MP_STAGE_THREADS},
        {"align_scan_keys", params->lists, 1024},
        {"align_fill", mp_stage_blocks(params->lists * params->capacity), MP_STAGE_THREADS},
        {"align_scatter", mp_divide_up(grid.count, warps), MP_STAGE_THREADS},
    };
    if (grid.count > 0)
        MP_CU(cuMemsetD32Async(params->counts, 0, (size_t)(keys * grid.count_row), run->stream));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        const mp_kernel kernel = mp_kernel_align(steps[i].entry);
        MP_DO(mp_stage_launch(run, &kernel, steps[i].blocks, steps[i].threads, params, err));
    }
out:
    return status;
}

/* Of the lists that params name: the lists' buffers, how many there are, and how slots come into one. */
static mp_status sort(const mp_device_run *run, const mp_stage_call *call, mp_align_params params,
                      mp_error *err) {
    const mp_case *c = call->c;
    params.ids = mp_stage_ids(c, call->t);
    params.counts = (CUdeviceptr)(uintptr_t)run->scratch[ALIGN_COUNTS];
    params.offsets = (CUdeviceptr)(uintptr_t)run->scratch[ALIGN_OFFSETS];
    params.slots = mp_case_slots(c);
    params.num_experts = (int)c->E;
    params.block_size_m = call->block_size_m;
    return launch_steps(run, params.lists * (c->E + 1), &params, err);
}

static mp_status launch(void *self, const mp_stage_call *call, mp_error *err) {
    const mp_case *c = call->c;
    const mp_tensor *t = call->t;
    const mp_align_params all = {
        .sorted_token_ids = mp_device_address(&t[MP_SORTED_TOKEN_IDS]),
        .expert_ids = mp_device_address(&t[MP_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_NUM_TOKENS_POST_PADDED]),
        .capacity = t[MP_SORTED_TOKEN_IDS].dim[1],
        .masked_m = mp_device_address(&t[MP_MASKED_M]),
        .lists = 1,
    };
    const mp_align_params of_adapters = {
        .sorted_token_ids = mp_device_address(&t[MP_LORA_SORTED_IDS]),
        .expert_ids = mp_device_address(&t[MP_LORA_EXPERT_IDS]),
        .num_tokens_post_padded = mp_device_address(&t[MP_LORA_NUM_PADDED]),
        .capacity = t[MP_LORA_SORTED_IDS].dim[2],
        .lists = (int)c->lora_adapters,
        .topk = (int)c->topk,
        .token_lora = mp_device_address(&t[MP_TOKEN_LORA]),
        .adapter_enabled = mp_device_address(&t[MP_ADAPTER_ENABLED]),
    };
    const mp_status status = sort(self, call, all, err);
    return status == MP_OK && mp_case_has_lora(c) ? sort(self, call, of_adapters, err) : status;
}

static int kernels(const mp_case *c, const mp_config *config, const mp_device_limits *limits,
                   mp_kernel *list) {
    (void)c, (void)config, (void)limits;
    list[0] = mp_kernel_align("align_count");
    return 1;
}

const mp_device_stage mp_device_align = {launch, kernels};
