/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of the device kernels: one declaration, read by the C compiler and by NVRTC, so that the two can
 * never disagree.
 *
 * Pointers are CUdeviceptr on the host and typed pointers on the device; both are 8 bytes. Sizes and offsets
 * are 64-bit everywhere: slot * row length passes 2^31 in ordinary cases.
 */
#ifndef MP_KERNELS_DEVICE_PARAMS_H
#define MP_KERNELS_DEVICE_PARAMS_H

#ifdef __CUDACC_RTC__
#define MP_DEVICE_POINTER(type) type *
#else
#define MP_DEVICE_POINTER(type) unsigned long long
#endif

/* A CUtensorMap of the driver: how a kernel's copy engine sees a tensor. */
typedef struct mp_tensor_map {
#ifdef __cplusplus
    alignas(64)
#else
    _Alignas(64)
#endif
        unsigned long long words[16];
} mp_tensor_map;

/* Which of this rank's experts a slot goes to, as topk_ids and the case's numbering tell (cases/numbering.h):
 * with a map they count the experts of all ranks. */
typedef struct mp_ids_params {
    MP_DEVICE_POINTER(const int) topk_ids;   /* [slots] */
    MP_DEVICE_POINTER(const int) expert_map; /* [counted], or 0 */
    int counted;                             /* experts that ids count: any other number is none of them */
} mp_ids_params;

/* What align_in_one_block holds in shared memory, 48 KB of it with the sums of its warps: counts of keys in
 * segments, and offsets of keys. */
enum { MP_ALIGN_COUNTS_IN_BLOCK = 10240, MP_ALIGN_OFFSETS_IN_BLOCK = 1536 };

/* align.cu. A key is an expert id + 1, so that filtered slots (id -1) sort first; there are keys =
 * num_experts + 1 of them in each of `lists` lists: one of all slots, or one of each LoRA adapter, where a
 * slot is in its token's list, if that adapter is enabled and the slot not filtered, else in none. The slots
 * are cut into `segments` runs of `segment_slots` (a multiple of 32), one warp each. counts and offsets are
 * not read where one block does all. */
typedef struct mp_align_params {
    mp_ids_params ids;
    MP_DEVICE_POINTER(int) counts; /* [lists, keys, count_row] scratch, zero at the start */
    MP_DEVICE_POINTER(int)
    offsets; /* [lists, keys + 1] scratch: first position of each key in its list, then the total */
    MP_DEVICE_POINTER(int) sorted_token_ids;       /* [lists, capacity] */
    MP_DEVICE_POINTER(int) expert_ids;             /* [lists, ceil(capacity / block_size_m)] */
    MP_DEVICE_POINTER(int) num_tokens_post_padded; /* [lists] */
    long long slots, capacity, segments, segment_slots, count_row; /* at least segments */
    int num_experts, block_size_m;
    MP_DEVICE_POINTER(int) masked_m; /* [num_experts], or 0; of one list */
    int lists, topk;
    MP_DEVICE_POINTER(const int) token_lora;      /* [slots / topk], or 0: one list of all slots */
    MP_DEVICE_POINTER(const int) adapter_enabled; /* [lists] */
} mp_align_params;

/* gemm_*.cu: out[o(t), 0..n) = epilogue(sum_k a[r(t), k] * w[expert(t), 0..n, k]) for every slot t. r(t) is
 * t / a_divisor, or the sorted position when a_sorted; o(t) is t / out_divisor, or the sorted position when
 * out_sorted. With max_m the row expert*max_m + place among the expert's slots takes the position's place.
 * Strides are in elements: from a row of a, and of out, to the next.
 *
 * Kernels of adapters (-DADAPTERS) have a list of sorted slots for each adapter, and weights that lie w_list
 * elements behind those of the one before. With -DADDS, results are added to out, column n of which is
 * element n * out_step of a row.
 *
 * Kernels of codes (-DW_SCALE) have what follows out_step, too. A group is so many codes of a row as have one
 * scale, column and group are counted from 0:
 *   scale of a   a_scale[row of a * a_scale_row + group * a_scale_group]; none where a is no codes
 *   scale of w   w_scale[expert * w_scale_expert + column / w_scale_rows * w_scale_row
 *                + group * w_scale_group]
 *                (with -DSWIZZLED a row of a, or a column, and its group lie in tiles: scale_place.cuh)
 *   global scale of a    a_global[0], of w    w_global[expert * w_globals + i], i = column / (n / w_globals),
 *                or column % w_globals where w_globals_alternate
 *   zero of w    w_zero[expert * w_zero_expert + column * w_zero_row + group]; packed ones are two columns to
 *                a byte, and column / 2 counts */
typedef struct mp_gemm_params {
    MP_DEVICE_POINTER(const void) a;             /* [*, k] */
    MP_DEVICE_POINTER(const void) w;             /* [num_experts, n, k], by w_expert and w_row */
    MP_DEVICE_POINTER(const void) bias;          /* [num_experts, n], or 0 */
    MP_DEVICE_POINTER(const float) topk_weights; /* [slots], or 0 */
    MP_DEVICE_POINTER(void) out;                 /* [*, n] */
    MP_DEVICE_POINTER(const int) sorted_token_ids;
    MP_DEVICE_POINTER(const int) expert_ids;
    MP_DEVICE_POINTER(const int) num_tokens_post_padded;
    long long w_expert, w_row;    /* elements from one expert, and row, to the next */
    long long slots, first_block; /* a grid larger than one launch is cut into several */
    int n, k, a_divisor, out_divisor, group_size_m;
    int a_sorted, out_sorted, out_unaligned;
    long long max_m; /* or 0 */
    long long a_row, out_row;
    long long w_list, list_positions, list_blocks; /* of a list: sorted_token_ids and expert_ids */
    int out_step;
#if !defined(__CUDACC_RTC__) || defined(W_SCALE) || defined(TENSOR_MAP)
    MP_DEVICE_POINTER(const void) a_scale; /* of the format that -DA_SCALE names */
    MP_DEVICE_POINTER(const void) w_scale; /* likewise */
    MP_DEVICE_POINTER(const void) w_zero;
    long long a_scale_row, a_scale_group;
    long long w_scale_expert, w_scale_row, w_scale_group, w_zero_expert, w_zero_row;
    int w_scale_rows;
    MP_DEVICE_POINTER(const float) a_global;
    MP_DEVICE_POINTER(const float) w_global;
    int w_globals, w_globals_alternate;
#endif
#if !defined(__CUDACC_RTC__) || defined(TENSOR_MAP)
    mp_tensor_map w_map; /* of w, [num_experts, n, k] */
#endif
} mp_gemm_params;

/* Rows of a cache, and which of them hold no slot that goes to an expert. Rows are slots; in sorted layout
 * (sorted_token_ids is there) positions, whose experts are expert_ids [row / block_size_m] of align, and
 * whose padding holds none; with masked_m (masked layout) max_m rows an expert, of which its count hold one.
 * */
typedef struct mp_rows_params {
    mp_ids_params ids;
    MP_DEVICE_POINTER(const int) expert_ids;
    MP_DEVICE_POINTER(const int) sorted_token_ids; /* 0: rows of slots */
    MP_DEVICE_POINTER(const int) num_tokens_post_padded;
    MP_DEVICE_POINTER(const int) masked_m; /* [experts], or 0 */
    long long count, slots, max_m;
    int block_size_m;
} mp_rows_params;

/* activation.cu: cache1 [rows, 2n or n] -> cache2 [rows, n], but for rows without a slot. */
typedef struct mp_activation_params {
    MP_DEVICE_POINTER(const void) cache1;
    MP_DEVICE_POINTER(void) cache2;
    mp_rows_params rows;
    long long n;
    float alpha, limit;
    int rows_at_a_time; /* that a warp looks at, 32 at most */
} mp_activation_params;

/* quant.cu: from [rows, k] -> codes [rows, k] and scale, but for rows without a slot. Columns share a scale
 * `group` at a time: scale [row * scale_row + column / group * scale_group], with -DSWIZZLED in tiles
 * (scale_place.cuh); amax and codes: all rows have one, scale [1]. given: the global scale of nvfp4, or 0.
 * With -DACT from is cache1, and k the columns of cache2. */
typedef struct mp_quant_params {
    MP_DEVICE_POINTER(const void) from;
    MP_DEVICE_POINTER(void) codes;
    MP_DEVICE_POINTER(void) scale;
    mp_rows_params rows;
    long long k, group, scale_row, scale_group;
    MP_DEVICE_POINTER(const float) given;
    int rows_at_a_time; /* as of activation.cu */
    float alpha, limit; /* of act */
} mp_quant_params;

/* combine.cu: in [tokens, TOPK, k], with -DADDS_SHARED shared [tokens, k], with -DWEIGHS topk_weights
 * [tokens, TOPK] and the slots' ids -> out [tokens, k]. */
typedef struct mp_combine_params {
    MP_DEVICE_POINTER(const void) in;
    MP_DEVICE_POINTER(void) out;
    long long tokens, k;
    double routed_scaling_factor;
#if !defined(__CUDACC_RTC__) || defined(ADDS_SHARED) || defined(WEIGHS)
    MP_DEVICE_POINTER(const void) shared; /* what follows is last, for kernels without it */
#endif
#if !defined(__CUDACC_RTC__) || defined(WEIGHS)
    MP_DEVICE_POINTER(const float) topk_weights;
    mp_ids_params ids;
#endif
} mp_combine_params;

/* probe.cu: d[v] = a[v] . b[v] + c[v]. Rows of a and b are 8 words of packed codes an instruction, STEPS
 * instructions. */
typedef struct mp_probe_params {
    MP_DEVICE_POINTER(const unsigned) a; /* [count, STEPS * 8] */
    MP_DEVICE_POINTER(const unsigned) b; /* [count, STEPS * 8] */
    MP_DEVICE_POINTER(const unsigned) c; /* [count]: bits of the accumulator */
    MP_DEVICE_POINTER(unsigned) d;       /* [count] */
    long long count;
} mp_probe_params;

/* special_unit.cu: d[v] = instruction(a[v], b[v]). */
typedef struct mp_special_unit_params {
    MP_DEVICE_POINTER(const float) a; /* [count] */
    MP_DEVICE_POINTER(const float) b; /* [count]; not read by an instruction of one operand */
    MP_DEVICE_POINTER(float) d;       /* [count] */
    long long count;
} mp_special_unit_params;

/* deliver.cu: what goes to a place in memory. Arguments of a kernel are at most 4096 bytes. */
typedef struct mp_delivery {
    MP_DEVICE_POINTER(unsigned char) to;
    MP_DEVICE_POINTER(const unsigned char)
    from; /* on the host, where the device reaches it; 0: the pattern */
    unsigned bytes, pattern;
} mp_delivery;
#define MP_DELIVERY_PARTS 8 /* blocks of one */
#define MP_DELIVERIES 160
typedef struct mp_deliver_params {
    mp_delivery list[MP_DELIVERIES]; /* no two have a byte in common */
    int count;
} mp_deliver_params;

/* survey.cu: what is looked at of a buffer, and what was found. */
typedef struct mp_survey_region {
    MP_DEVICE_POINTER(const unsigned char) data; /* between two zones */
    unsigned long long bytes, digested;          /* of data: all, and those of which a digest is made */
    unsigned long long digest;                   /* from here on added to, 0 at the start */
    unsigned long long looked_at;     /* zones, and warps that had a part of the digest: all of it was done */
    unsigned long long first_changed; /* of the bytes of both zones; all ones where none is */
} mp_survey_region;
typedef struct mp_survey_params {
    MP_DEVICE_POINTER(mp_survey_region) regions; /* [count] */
    int count;
    unsigned zone_bytes, pattern; /* what zones hold, from their first byte on */
} mp_survey_params;

/* survey.cu: digest_rows of packed rows. */
typedef struct mp_digest_rows_params {
    MP_DEVICE_POINTER(const unsigned char) data;  /* [rows, row_bytes] */
    MP_DEVICE_POINTER(unsigned long long) digest; /* [rows] */
    long long rows, row_bytes;
} mp_digest_rows_params;

/* tools.cu: random contents for timing, and time that passes. */
typedef struct mp_tool_params {
    MP_DEVICE_POINTER(void) data;
    long long count; /* fill_codes: bytes; pass_time: nanoseconds; else elements */
    unsigned long long seed;
    int num_experts; /* fill_ids */
    float nowhere;   /* the share of ids that are -1 */
    int nan_code;    /* fill_codes: the byte without its sign that is NaN; -1: none is */
    float scale;     /* fill_elements: uniform in [-scale, scale) */
} mp_tool_params;

/* rates.cu. */
typedef struct mp_rate_params {
    MP_DEVICE_POINTER(float) out; /* nothing is written: the compiler must not know */
    int steps;
} mp_rate_params;

#endif
