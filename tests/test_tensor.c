/* SPDX-License-Identifier: Apache-2.0 */
#include "moeparity/tensor.h"

#include "base/mix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mp_tensor created(mp_dtype dtype, int rank, int64_t d0, int64_t d1, int64_t d2, uint32_t poison) {
    mp_tensor t = mp_tensor_shape(dtype, rank, d0, d1, d2);
    mp_error err = {0};
    assert_int_equal(mp_tensor_alloc(&t, poison, &err), MP_OK);
    return t;
}

static void shapes_and_rows(void **state) {
    (void)state;
    mp_tensor t = created(MP_BF16, 3, 4, 3, 5, MP_POISON_A);
    assert_int_equal(mp_tensor_count(&t), 60);
    assert_int_equal(mp_tensor_bytes(&t), 120);
    assert_int_equal(mp_tensor_rows(&t), 12);
    assert_int_equal(mp_tensor_row_length(&t), 5);
    assert_ptr_equal(mp_tensor_row(&t, 7), (char *)t.data + 7 * 10);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    mp_tensor_free(&t);
    assert_null(t.data);
    mp_tensor_free(&t);

    mp_tensor vector = mp_tensor_shape(MP_I32, 1, 9, 100, 100);
    assert_int_equal(mp_tensor_count(&vector), 9);
    assert_int_equal(mp_tensor_rows(&vector), 1);
    assert_int_equal(mp_tensor_row_length(&vector), 9);
}

static void poison_is_everywhere_and_reads_as_nan(void **state) {
    (void)state;
    static const uint32_t poisons[] = {MP_POISON_A, MP_POISON_B};
    static const mp_dtype floats[] = {MP_BF16, MP_FP16, MP_FP32, MP_FP64};
    for (size_t p = 0; p < 2; p++) {
        for (size_t d = 0; d < 4; d++) {
            mp_tensor t = created(floats[d], 2, 3, 5, 1, poisons[p]);
            for (int64_t i = 0; i < 15; i++) assert_true(isnan(mp_decode(t.dtype, t.data, i)));
            mp_tensor_free(&t);
        }
        mp_tensor ids = created(MP_I32, 1, 7, 1, 1, poisons[p]);
        for (int64_t i = 0; i < 7; i++)
            assert_true(((int32_t *)ids.data)[i] < -1 || ((int32_t *)ids.data)[i] > 1000000000);
        mp_tensor_free(&ids);
        mp_tensor bytes = created(MP_E4M3, 1, 7, 1, 1, poisons[p]); /* no multiple of the pattern */
        assert_memory_equal(bytes.data, &poisons[p], 4);
        assert_memory_equal((char *)bytes.data + 4, &poisons[p], 3);
        mp_tensor_free(&bytes);
    }
}

static void a_changed_guard_byte_is_found_where_it_is(void **state) {
    (void)state;
    mp_tensor t = created(MP_E5M2, 1, 101, 1, 1, MP_POISON_B);
    int64_t found = 0;
    assert_true(mp_tensor_guards_intact(&t, &found));
    static const int64_t offsets[] = {-MP_GUARD_BYTES, -1, 101, 102, 101 + MP_GUARD_BYTES - 1};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        char *byte = (char *)t.data + offsets[i];
        *byte = (char)(*byte ^ 0x10);
        assert_false(mp_tensor_guards_intact(&t, &found));
        assert_int_equal(found, offsets[i]);
        *byte = (char)(*byte ^ 0x10);
    }
    memset(t.data, 0, 101); /* the data itself is free to change */
    assert_true(mp_tensor_guards_intact(&t, &found));
    mp_tensor_free(&t);
    assert_true(mp_tensor_guards_intact(&t, &found));
}

/* A subject that runs past the end with the poison fill, and one that reads there. */
static void guards_differ_from_poison_and_read_as_nan(void **state) {
    (void)state;
    mp_tensor t = created(MP_FP32, 1, 8, 1, 1, MP_POISON_A);
    assert_true(isnan(mp_decode(MP_FP32, t.data, 8)) && isnan(mp_decode(MP_FP32, t.data, -1)));
    assert_true(isnan(mp_decode(MP_BF16, t.data, 17)) && isnan(mp_decode(MP_FP16, t.data, -1)));
    static const uint32_t poisons[] = {MP_POISON_A, MP_POISON_B};
    for (size_t p = 0; p < 2; p++) {
        mp_tensor fresh = created(MP_FP32, 1, 8, 1, 1, poisons[p]);
        memcpy((char *)fresh.data + 32, &poisons[p], 4);
        int64_t found;
        assert_false(mp_tensor_guards_intact(&fresh, &found));
        mp_tensor_free(&fresh);
    }
    mp_tensor_free(&t);
}

static void empty_tensors_are_allowed(void **state) {
    (void)state;
    mp_tensor t = created(MP_FP32, 2, 0, 16, 1, MP_POISON_A);
    int64_t found;
    assert_non_null(t.data);
    assert_int_equal(mp_tensor_bytes(&t), 0);
    assert_int_equal(mp_tensor_rows(&t), 0);
    assert_true(mp_tensor_guards_intact(&t, &found));
    assert_int_equal(mp_tensor_digest(&t), mp_tensor_digest(&t));
    mp_tensor_free(&t);
}

static void sizes_that_do_not_fit_are_an_error(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {
        {1ll << 40, 1ll << 40, 1}, {INT64_MAX, 2, 2}, {1ll << 62, 2, 2}, {1ll << 61, 1, 1}};
    for (size_t i = 0; i < 4; i++) {
        mp_tensor t = mp_tensor_shape(MP_FP64, 3, shapes[i][0], shapes[i][1], shapes[i][2]);
        mp_error err = {0};
        assert_int_equal(mp_tensor_bytes(&t), SIZE_MAX);
        assert_int_equal(mp_tensor_alloc(&t, MP_POISON_A, &err), MP_EMEMORY);
        assert_null(t.data);
        assert_non_null(strstr(err.text, "fp64"));
    }
    mp_tensor negative = mp_tensor_shape(MP_FP64, 1, -1, 1, 1);
    mp_error err = {0};
    assert_int_equal(mp_tensor_alloc(&negative, MP_POISON_A, &err), MP_EINTERNAL);
}

static void digests_see_every_byte_and_know_rows(void **state) {
    (void)state;
    mp_tensor t = created(MP_BF16, 2, 3, 7, 1, MP_POISON_A);
    uint64_t whole = mp_tensor_digest(&t), rows[3];
    for (int64_t r = 0; r < 3; r++) rows[r] = mp_tensor_row_digest(&t, r);
    assert_true(rows[0] != whole);
    for (size_t byte = 0; byte < 42; byte++) {
        ((unsigned char *)t.data)[byte] ^= 1;
        assert_true(mp_tensor_digest(&t) != whole);
        for (int64_t r = 0; r < 3; r++)
            assert_int_equal(mp_tensor_row_digest(&t, r) != rows[r], (int64_t)byte / 14 == r);
        ((unsigned char *)t.data)[byte] ^= 1;
    }
    assert_true(mp_tensor_digest(&t) == whole);
    mp_tensor_free(&t);
}

/* Threads that add up parts of a digest give that of one. */
static void large_digests_are_those_of_one_thread(void **state) {
    (void)state;
    const size_t large = ((size_t)1 << 22) + 1;
    unsigned char *bytes = malloc(large + 8);
    assert_non_null(bytes);
    for (size_t i = 0; i < large + 8; i++) bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    for (size_t begin = 0; begin < 2; begin++)
        for (size_t more = 0; more < 6; more++)
            assert_true(mp_space_row_digest(bytes + begin, large + more) ==
                        mp_digest_of_bytes(bytes + begin, large + more));
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_digests_are_those_of_one_thread),
        cmocka_unit_test(shapes_and_rows),
        cmocka_unit_test(poison_is_everywhere_and_reads_as_nan),
        cmocka_unit_test(a_changed_guard_byte_is_found_where_it_is),
        cmocka_unit_test(guards_differ_from_poison_and_read_as_nan),
        cmocka_unit_test(empty_tensors_are_allowed),
        cmocka_unit_test(sizes_that_do_not_fit_are_an_error),
        cmocka_unit_test(digests_see_every_byte_and_know_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
