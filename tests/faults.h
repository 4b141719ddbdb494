/* SPDX-License-Identifier: Apache-2.0 */
/* One function a fault; faults.c says what each must lead to. */
#ifndef MP_TESTS_FAULTS_H
#define MP_TESTS_FAULTS_H

#include "tests/faulty.h"

#include <math.h>

typedef void fault_fn(const faulty_run *run);
fault_fn expert_swapped, gate_up_bias_missing, bias_of_expert_zero, gate_up_tail_unmasked, k_group_dropped,
    token_offset_wraps, expert_offset_wraps, input_weight_ignored, partial_sum_in_dtype, store_truncates,
    padding_nan_spreads, gate_up_tile_unwritten, gate_up_filtered_unwritten, padding_row_written,
    inplace_x_read_too_late, router_weight_missing, router_weight_twice, router_weight_unasked,
    router_weight_in_bf16, router_weight_without_topk, narrowed_before_weight, bias_after_weight,
    down_filtered_unwritten, down_tail_unmasked, split_k_half_launched, down_block_size_differs,
    last_chunk_ids_without_topk, fused_sum_accumulates_over_calls, fused_sum_onto_poison,
    fused_sum_zeroed_by_filtered, fused_sum_all_zero, filtered_zeros_negative, poison_where_nan,
    only_slot_zero_scattered, minus_one_counted, pads_are_zero, counter_not_zeroed, wrong_order_of_many,
    barrier_missing, last_expert_forgotten, padding_not_masked, erf_for_tanh, tanh_for_erf, clamp_before_silu,
    gate_and_up_exchanged, gate_rounded_first, limit_ignored, alpha_ignored, plus_one_missing, nan_swallowed,
    interleaved_read_as_halves, filtered_row_written, valid_row_skipped, rows_beyond_grid_unwritten,
    scale_missing, scale_twice, scale_rounded, rounded_before_scale, sum_in_dtype, slot_dropped,
    filtered_slot_summed, combine_offset_wraps, last_chunk_sum_without_topk, all_zero,
    scaled_buffer_unwritten, last_token_unwritten, written_behind_out, written_before_cache1,
    device_guard_broken, written_behind_x, x_overwritten, device_input_changed, depends_on_old_contents,
    differs_rarely, depends_on_position, depends_on_batch_size, runner_differs, one_tile_differs, other_bits,
    global_ids_on_every_rank, first_expert_of_a_rank_dropped, down_bias_on_every_rank,
    down_bias_of_the_first_run, odd_k_group_dropped, odd_n_group_dropped, wrong_at_four_tokens,
    wrong_at_five_tokens, wrong_at_five_tokens_again, long_k_tail_unmasked, up_bias_missing,
    unused_expert_times_zero, filtered_weight_times_zero, down_expert_offset_wraps, slot_offset_wraps,
    fused_sum_repeated_expert_once, experts_in_fours, expert_in_eight_bits, experts_beyond_a_block,
    slots_in_sixteen_bits, wrong_for_some_tokens, nothing_launched, row_of_no_token_written,
    limit_ignored_with_filter, nan_swallowed_by_clamp, topk_beyond_eight, topk_beyond_a_warp,
    gate_up_saturates, act_saturates, down_saturates, combine_saturates, map_read_at_minus_one, map_ignored,
    map_taken_for_linear, sentinel_clamped, other_sentinel_routed, sentinel_counted, sentinel_row_activated,
    sentinel_times_zero, shared_left_out, shared_scaled, sum_stored_before_shared, finalized_in_dtype,
    shared_row_wraps, shared_left_out_of_fused_sum, shared_weight_of_one, sort_kept_for_tokens,
    grid_kept_for_tokens, blocks_of_the_run_before, added_onto_the_run_before,
    filtered_rows_of_the_run_before, weight_rows_taken_for_packed, experts_taken_for_packed,
    x_read_from_the_boundary, written_into_gap, stored_from_the_boundary, unaligned_differs,
    map_ignored_by_act, summed_from_the_boundary, grid_of_the_run_before, padded_count_only_grows,
    idle_once_idle_again, counts_padded, filtered_slots_counted, rows_of_expert_zero, sentinel_in_the_map,
    gap_times_zero, weights_of_the_first_chunk, shrink_reads_slots_of_x, shrink_reads_tokens_of_cache2,
    adapter_weighed_twice, adapter_not_weighed, shrunk_halves_exchanged, deltas_exchanged, alpha_twice,
    expand_half_launched, strides_of_another_rank, factor_offset_wraps, last_adapter_not_launched,
    slot_of_another_adapter, base_tokens_adapted, disabled_adapter_applied, id_beyond_the_experts,
    expand_before_shrink, shrunk_token_unwritten, read_beyond_the_rank, zero_added_to_other_rows,
    adapters_of_the_run_before, filtered_slots_in_an_adapters_row, scale_of_expert_zero,
    scale_of_the_next_block, tile_of_two_groups, gate_and_up_scales_swapped, scale_of_the_next_token,
    zero_point_off_by_one, nibbles_swapped, codes_are_cut, codes_are_not_held, amax_of_other_rows,
    scale_by_a_reciprocal, scale_of_zero_is_one, subnormal_scales_are_zero, nan_scale_is_one,
    smallest_scale_is_one, ties_away_from_zero, rows_of_zeros_are_nan, powers_are_doubled,
    combine_weight_missing, combine_weight_twice, combine_weight_of_filtered_slots,
    combine_weight_without_topk, combine_weight_in_dtype, combine_products_in_dtype, halves_differ,
    differs_where_combine_weighs, scales_taken_for_packed_rows, swizzled_without_padding, padding_times_zero,
    scales_written_into_gap, scales_made_by_rows, scale_of_unused_expert, scales_of_the_next_slot,
    unrounded_numbers_become_codes;

#endif
