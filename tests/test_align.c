/* SPDX-License-Identifier: Apache-2.0 */
/* ref/align.c against the definition made another way: slots sorted by (expert, slot) with qsort, then cut
 * into blocks. */
#include "ref/align.h"
#include "tests/ref_support.h"

typedef struct routed {
    int32_t expert;
    int64_t slot;
} routed;

static int by_expert_then_slot(const void *a, const void *b) {
    const routed *x = a, *y = b;
    if (x->expert != y->expert) return x->expert < y->expert ? -1 : 1;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

static routed *sorted_by_expert(const int32_t *ids, int64_t slots) {
    routed *r = allocated(slots, sizeof *r);
    for (int64_t t = 0; t < slots; t++) r[t] = (routed){ids[t], t};
    qsort(r, (size_t)slots, sizeof *r, by_expert_then_slot);
    return r;
}

/* Walks the sorted slots and the product's arrays side by side. */
static void check_align(const int32_t *ids, int64_t slots, int64_t E, int block_size) {
    mp_error err;
    const int64_t capacity = slots < E + 1 ? slots * block_size : slots + (E + 1) * (block_size - 1);
    const int64_t blocks = (capacity + block_size - 1) / block_size;
    mp_tensor sorted = allocated_tensor(MP_I32, 1, capacity, 0),
              experts = allocated_tensor(MP_I32, 1, blocks, 0);
    int32_t padded = -7;
    assert_int_equal(
        mp_align(ids, slots, E, block_size, sorted.data, capacity, experts.data, blocks, &padded, &err),
        MP_OK);

    const int32_t *sorted_token_ids = sorted.data, *expert_ids = experts.data;
    routed *expected = sorted_by_expert(ids, slots);
    int64_t p = 0;
    for (int64_t i = 0; i < slots; i++) {
        const bool starts_block = i == 0 || expected[i].expert != expected[i - 1].expert;
        if (starts_block)
            for (; p % block_size; p++) assert_int_equal(sorted_token_ids[p], slots);
        assert_true(p < capacity);
        assert_int_equal(sorted_token_ids[p], expected[i].slot);
        assert_int_equal(expert_ids[p / block_size], expected[i].expert);
        p++;
    }
    for (; p % block_size; p++) assert_int_equal(sorted_token_ids[p], slots);
    assert_int_equal(padded, p);
    for (int64_t b = p / block_size; b < blocks; b++) assert_int_equal(expert_ids[b], -1);
    for (; p < capacity; p++) assert_int_equal(sorted_token_ids[p], slots);

    int64_t offset;
    assert_true(mp_tensor_guards_intact(&sorted, &offset) && mp_tensor_guards_intact(&experts, &offset));
    free(expected);
    mp_tensor_free(&sorted);
    mp_tensor_free(&experts);
}

static const int block_sizes[] = {16, 32, 48, 64, 128, 256};

/* Ids from a random subset of the experts, so that some are empty and, with few of them, tokens hold
 * duplicates. */
static void random_ids_are_sorted_into_blocks(void **unused) {
    (void)unused;
    static const struct {
        int64_t slots, E;
    } sizes[] = {{1, 1},  {1, 1024}, {7, 8},      {8, 8},       {9, 8},
                 {64, 3}, {257, 60}, {1024, 128}, {5000, 1024}, {20000, 8}};
    rng r = {1};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        const int64_t slots = sizes[s].slots, E = sizes[s].E;
        int32_t *ids = allocated(slots, sizeof *ids);
        for (size_t b = 0; b < COUNT(block_sizes); b++) {
            for (int filtered = 0; filtered <= 10; filtered += 5) { /* tenths of the slots */
                const int64_t used = 1 + random_below(&r, E), first = random_below(&r, E - used + 1);
                for (int64_t t = 0; t < slots; t++)
                    ids[t] = random_below(&r, 10) < filtered ? -1 : (int32_t)(first + random_below(&r, used));
                check_align(ids, slots, E, block_sizes[b]);
            }
        }
        free(ids);
    }
}

/* One slot for every expert and one filtered is what the capacity is made for: no element of either array is
 * spare. */
static void the_worst_routing_fills_the_capacity(void **unused) {
    (void)unused;
    enum { E = 37 };
    int32_t ids[E + 1];
    for (int32_t t = 0; t <= E; t++) ids[t] = E - 1 - t;
    for (size_t b = 0; b < COUNT(block_sizes); b++) {
        const int block_size = block_sizes[b];
        check_align(ids, E + 1, E, block_size); /* E+1 slots: the second formula */
        check_align(ids, E, E, block_size);     /* E slots: the first */
        check_align(ids + 1, E, E, block_size);
        mp_error err;
        int32_t padded, *sorted = allocated((E + 1) * block_size, sizeof *sorted), experts[E + 1];
        assert_int_equal(
            mp_align(ids, E + 1, E, block_size, sorted, (E + 1) * block_size, experts, E + 1, &padded, &err),
            MP_OK);
        assert_int_equal(padded, (E + 1) * block_size);
        free(sorted);
    }
}

static void groups_are_a_stable_partition(void **unused) {
    (void)unused;
    rng r = {2};
    for (int64_t slots = 0; slots < 300; slots += 23) {
        enum { E = 17 };
        int32_t *ids = allocated(slots, sizeof *ids);
        int64_t offsets[E + 2], *order = allocated(slots, sizeof *order);
        for (int64_t t = 0; t < slots; t++) ids[t] = (int32_t)random_below(&r, E + 1) - 1;
        mp_group_by_expert(ids, slots, E, offsets, order);
        routed *expected = sorted_by_expert(ids, slots);
        for (int64_t i = 0; i < slots; i++) assert_int_equal(order[i], expected[i].slot);
        for (int32_t group = 0; group <= E + 1; group++) {
            int64_t before = 0; /* slots of the groups in front */
            for (int64_t t = 0; t < slots; t++) before += ids[t] + 1 < group;
            assert_int_equal(offsets[group], before);
        }
        free(expected);
        free(order);
        free(ids);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ids_are_sorted_into_blocks),
        cmocka_unit_test(the_worst_routing_fills_the_capacity),
        cmocka_unit_test(groups_are_a_stable_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
