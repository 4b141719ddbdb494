/* SPDX-License-Identifier: Apache-2.0 */
/* What was given back is handed out again, no more of it is kept than was said, and nobody can tell by what a
 * buffer holds. */
#include "base/kept_blocks.h"
#include "moeparity/space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static void a_block_comes_back(void **state) {
    (void)state;
    mp_blocks_keep(64 * MIB);
    char *first = mp_block_take(20 * MIB), *second = mp_block_take(30 * MIB);
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal((uintptr_t)first % 64, 0);
    memset(first, 1, 20 * MIB);
    mp_block_give(first);
    mp_block_give(second);
    char *larger = mp_block_take(50 * MIB); /* than any that waits */
    assert_true(larger && larger != first && larger != second);
    mp_block_give(larger); /* and leaves no room for the others */
    assert_ptr_equal(mp_block_take(50 * MIB), larger);
    mp_block_give(larger);
    char *half = mp_block_take(25 * MIB); /* not half of a large one */
    assert_ptr_not_equal(half, larger);
    mp_block_give(half);
    assert_ptr_equal(mp_block_take(25 * MIB), half);
    mp_block_give(half);
    mp_blocks_keep(0);
    mp_block_give(mp_block_take(20 * MIB));
    mp_block_give(NULL);
}

/* Of sizes that are no whole pages: what is rounded up is found all the same. */
static void sizes_of_any_number_of_bytes(void **state) {
    (void)state;
    mp_blocks_keep(64 * MIB);
    for (size_t bytes = 8 * MIB; bytes < 12 * MIB; bytes += MIB / 3 + 7) {
        char *block = mp_block_take(bytes);
        memset(block, 1, bytes);
        mp_block_give(block);
        assert_ptr_equal(mp_block_take(bytes), block);
        mp_block_give(block);
        mp_blocks_keep(0);
        mp_blocks_keep(64 * MIB);
    }
    mp_blocks_keep(0);
}

/* More than are kept at once. */
static void many_blocks_of_a_size(void **state) {
    (void)state;
    enum { KEPT = 64, MORE = KEPT + 4 };
    char *block[MORE];
    mp_blocks_keep(SIZE_MAX / 2);
    for (int i = 0; i < MORE; i++) assert_non_null(block[i] = mp_block_take(8 * MIB));
    for (int i = 0; i < MORE; i++) mp_block_give(block[i]);
    assert_ptr_equal(mp_block_take(8 * MIB), block[MORE - KEPT]); /* those before it had to go */
    mp_block_give(block[MORE - KEPT]);
    mp_blocks_keep(0);
}

/* Sizes that no memory has, and that would be small ones once rounded up, or with guards around them. */
static void what_cannot_be_is_no_block(void **state) {
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - MIB, SIZE_MAX - 2 * MP_GUARD_BYTES, PTRDIFF_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mp_error err = {0};
        void *data = &err;
        assert_null(mp_block_take(sizes[i]));
        assert_int_equal(mp_host_space.alloc(NULL, sizes[i], MP_POISON_A, &data, &err), MP_EMEMORY);
        assert_null(data);
    }
}

static void buffers_begin_with_poison_and_guards(void **state) {
    (void)state;
    mp_error err = {0};
    mp_blocks_keep(64 * MIB);
    for (int round = 0; round < 2; round++) {
        const uint32_t poison = round ? MP_POISON_B : MP_POISON_A;
        const size_t bytes = 20 * MIB - (round ? 64 : 0); /* guards elsewhere */
        void *data;
        assert_int_equal(mp_host_space.alloc(NULL, bytes, poison, &data, &err), MP_OK);
        for (size_t at = 0; at < bytes; at += 4)
            if (memcmp((char *)data + at, &poison, 4)) fail_msg("round %d: byte %zu", round, at);
        mp_region region = {.data = data, .bytes = bytes};
        assert_int_equal(mp_host_space.survey(NULL, &region, 1, &err), MP_OK);
        assert_true(region.intact);
        memset((char *)data - 1, round, bytes + 2); /* both guards */
        mp_host_space.free(NULL, data);
    }
    mp_blocks_keep(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_comes_back), cmocka_unit_test(sizes_of_any_number_of_bytes),
        cmocka_unit_test(many_blocks_of_a_size), cmocka_unit_test(what_cannot_be_is_no_block),
        cmocka_unit_test(buffers_begin_with_poison_and_guards)};
    return cmocka_run_group_tests_name("base.kept_blocks", tests, NULL, NULL);
}
