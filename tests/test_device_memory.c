/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of a device: guards, what crosses the bus, what is put off, and what is used again. */
#include "tests/device_support.h"

#include <omp.h>

/* Odd sizes too: the zones begin at the first byte behind the data. */
static void device_buffers_have_guards_at_every_size(void **state) {
    (void)state;
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    for (size_t bytes = 0; bytes < 9; bytes++)
        for (int64_t at = -MP_GUARD_BYTES; at < (int64_t)bytes + MP_GUARD_BYTES;
             at += at == -1 && bytes ? 1 : 97) {
            void *data;
            unsigned char content[8];
            assert_int_equal(space->alloc(space->self, bytes, MP_POISON_B, &data, &err), MP_OK);
            mp_region region = {.data = data, .bytes = bytes}, at_host = region;
            assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
            assert_true(region.intact);
            assert_int_equal(space->read(space->self, content, data, bytes, &err), MP_OK);
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(content[i], (MP_POISON_B >> 8 * (i % 4)) & 0xFF);
            ((unsigned char *)fake_memory((uintptr_t)data))[at] ^= 0x40;
            assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
            const bool inside = at >= 0 && at < (int64_t)bytes;
            assert_int_equal(region.intact, inside);
            if (!inside) assert_int_equal(region.offset, at);
            at_host.data = fake_memory((uintptr_t)data); /* the host says the same */
            assert_int_equal(mp_host_space.survey(NULL, &at_host, 1, &err), MP_OK);
            assert_int_equal(at_host.intact, inside);
            if (!inside) assert_int_equal(at_host.offset, at);
            space->free(space->self, data);
        }
    mp_cuda_close(cuda);
}

/* Piece by piece, with a last one that is short, in shares of one thread and of several, some of which have
 * nothing to carry. */
static void large_tensors_cross_whole(void **state) {
    (void)state;
    static const size_t sizes[] = {(4 << 20) - 1, (4 << 20) + 3, 32 << 20, (34 << 20) + 1};
    const int threads = omp_get_max_threads();
    mp_cuda *cuda;
    mp_error err = {0};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *data;
        uint32_t *sent = malloc(sizes[i] + 4), *got = calloc(1, sizes[i] + 4);
        assert_true(sent && got);
        for (size_t k = 0; k < sizes[i] / 4 + 1; k++) sent[k] = (uint32_t)(k * 2654435761u);
        assert_int_equal(space->alloc(space->self, sizes[i], MP_POISON_A, &data, &err), MP_OK);
        for (int t = 1; t <= 16; t += 5) {
            omp_set_num_threads(t);
            memset(fake_memory((uintptr_t)data), 0, sizes[i]);
            memset(got, 0, sizes[i]);
            assert_int_equal(space->write(space->self, data, sent, sizes[i], &err), MP_OK);
            assert_memory_equal(fake_memory((uintptr_t)data), sent, sizes[i]);
            assert_int_equal(space->read(space->self, got, data, sizes[i], &err), MP_OK);
            assert_memory_equal(got, sent, sizes[i]);
            assert_int_equal(((char *)got)[sizes[i]], 0);
        }
        omp_set_num_threads(threads);
        space->free(space->self, data);
        free(sent);
        free(got);
    }
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* A buffer, and what it must hold with its zones. */
typedef struct held {
    void *data;
    size_t bytes;
    unsigned char *all;
} held;

static void open_held(const mp_space *space, size_t bytes, uint32_t poison, held *h, mp_error *err) {
    *h = (held){.bytes = bytes, .all = malloc(bytes + 2 * MP_GUARD_BYTES)};
    assert_non_null(h->all);
    assert_int_equal(space->alloc(space->self, bytes, poison, &h->data, err), MP_OK);
    mp_fill_pattern(h->all, MP_GUARD_BYTES, MP_GUARD_PATTERN);
    mp_fill_pattern(h->all + MP_GUARD_BYTES, bytes, poison);
    mp_fill_pattern(h->all + MP_GUARD_BYTES + bytes, MP_GUARD_BYTES, MP_GUARD_PATTERN);
}

static void write_held(const mp_space *space, held *h, size_t at, size_t bytes, mp_error *err) {
    unsigned char *content = malloc(bytes + 1);
    assert_non_null(content);
    for (size_t i = 0; i < bytes; i++) content[i] = (unsigned char)rand();
    assert_int_equal(space->write(space->self, (char *)h->data + at, content, bytes, err), MP_OK);
    memcpy(h->all + MP_GUARD_BYTES + at, content, bytes);
    free(content); /* nobody reads it any more */
}

/* Whatever is put off, and in whichever order one launch does it, buffers hold what they were given last. */
static void small_work_is_put_off_and_comes_to_the_same(void **state) {
    (void)state;
    enum { BUFFERS = 6, STEPS = 4000 };
    static const size_t sizes[] = {0, 1, 7, 64, 1000, 4099, 70001, (256 << 10) + 5};
    mp_cuda *cuda;
    mp_error err = {0};
    held h[BUFFERS] = {{0}};
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    srand(1);
    fake.launched = 0;
    for (int step = 0; step < STEPS; step++) {
        held *b = &h[rand() % BUFFERS];
        const int what = rand() % 8;
        if (!b->data) {
            open_held(space, sizes[rand() % (int)(sizeof sizes / sizeof *sizes)],
                      rand() % 2 ? MP_POISON_A : MP_POISON_B, b, &err);
        } else if (what == 0) {
            space->free(space->self, b->data);
            free(b->all);
            *b = (held){0};
        } else if (what < 7) {
            const size_t at = what < 4 ? 0 : (size_t)rand() % (b->bytes + 1);
            write_held(space, b, at, what < 3 ? b->bytes : (b->bytes - at) / 2, &err);
        } else {
            assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
            assert_memory_equal((char *)fake_memory((uintptr_t)b->data) - MP_GUARD_BYTES, b->all,
                                b->bytes + 2 * MP_GUARD_BYTES);
        }
    }
    assert_in_range(fake.launched, 1, STEPS / 2); /* it was put off at all */
    mp_reading readings[BUFFERS];
    int count = 0;
    for (int i = 0; i < BUFFERS; i++)
        if (h[i].data) readings[count++] = (mp_reading){calloc(1, h[i].bytes + 1), h[i].data, h[i].bytes};
    mp_region region = {.data = readings[0].from, .bytes = readings[0].bytes, .digested = readings[0].bytes};
    uint64_t digest[2];
    const mp_rows_region rows[] = {{readings[0].from, readings[0].bytes, 1, &digest[0]},
                                   {readings[1].from, readings[1].bytes, 1, &digest[1]}};
    const mp_inspection all = {&region, rows, readings, 1, 2, count};
    assert_int_equal(space->inspect(space->self, &all, &err), MP_OK);
    assert_true(region.intact && region.digest == mp_space_row_digest(readings[0].to, region.bytes));
    for (int i = 0; i < 2; i++)
        assert_true(digest[i] == mp_space_row_digest(readings[i].to, readings[i].bytes));
    for (int i = 0, k = 0; i < BUFFERS; i++) {
        if (!h[i].data) continue;
        assert_memory_equal(readings[k].to, h[i].all + MP_GUARD_BYTES, h[i].bytes);
        free(readings[k++].to);
    }
    assert_in_range(count, 4, BUFFERS);
    for (int i = 0; i < BUFFERS; i++) free(h[i].all);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* Nothing is done any more to memory that somebody else has taken since. */
static void what_is_freed_is_left_alone(void **state) {
    (void)state;
    enum { BYTES = 1000 };
    mp_cuda *cuda;
    void *data;
    CUdeviceptr taken = 0;
    mp_error err = {0};
    unsigned char own[BYTES];
    memset(own, 0x55, sizeof own);
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(space->alloc(space->self, BYTES, MP_POISON_A, &data, &err), MP_OK);
    space->free(space->self, data);
    assert_int_equal(mp_pool_take(cuda, BYTES + 2 * MP_GUARD_BYTES, &taken, &err), MP_OK);
    assert_int_equal(taken, (uintptr_t)data - MP_GUARD_BYTES);
    memcpy(fake_memory((uintptr_t)data), own, sizeof own);
    assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
    assert_memory_equal(fake_memory((uintptr_t)data), own, sizeof own);
    mp_pool_keep(cuda, taken);
    mp_cuda_close(cuda);
}

/* A kernel that writes no digest says of no row that it is what it was. */
static void digests_that_nobody_made_are_equal_to_none(void **state) {
    (void)state;
    enum { ROWS = 5, ROW_BYTES = 64 };
    mp_cuda *cuda;
    void *data;
    mp_error err = {0};
    uint64_t digest[3][ROWS];
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(space->alloc(space->self, ROWS * ROW_BYTES, MP_POISON_A, &data, &err), MP_OK);
    assert_int_equal(mp_cuda_synchronize(cuda, &err), MP_OK);
    for (int i = 0; i < 3; i++) {
        const mp_rows_region rows = {data, ROW_BYTES, ROWS, digest[i]};
        fake.no_digests = i < 2;
        assert_int_equal(space->digest_rows(space->self, &rows, 1, &err), MP_OK);
    }
    for (int row = 0; row < ROWS; row++)
        for (int i = 0; i < 3; i++) assert_true(digest[i][row] != digest[(i + 1) % 3][row]);
    space->free(space->self, data);
    mp_cuda_close(cuda);
}

/* What was freed comes back, poisoned, for the same size alone; where the device has nothing left it is given
 * back. */
static void memory_of_the_same_size_is_used_again(void **state) {
    (void)state;
    mp_cuda *cuda;
    void *first, *again, *other;
    mp_region region;
    mp_error err = {0};
    size_t before, room, reserve;
    assert_int_equal(mp_cuda_open(&cuda, &err), MP_OK);
    const mp_space *space = mp_cuda_space(cuda);
    assert_int_equal(mp_cuda_memory(cuda, &before, &reserve, &err), MP_OK);
    assert_int_equal(space->alloc(space->self, 1000, MP_POISON_A, &first, &err), MP_OK);
    memset((char *)fake_memory((uintptr_t)first) - 8, 0x11, 1016);
    space->free(space->self, first);
    assert_int_equal(mp_cuda_memory(cuda, &room, &reserve, &err), MP_OK);
    assert_true(room == before + 1000 + 2 * MP_GUARD_BYTES); /* the fake's driver does not count */
    assert_int_equal(space->alloc(space->self, 1001, MP_POISON_A, &other, &err), MP_OK);
    assert_ptr_not_equal(other, first);
    assert_int_equal(space->alloc(space->self, 1000, MP_POISON_B, &again, &err), MP_OK);
    assert_ptr_equal(again, first);
    region = (mp_region){.data = again, .bytes = 1000};
    assert_int_equal(space->survey(space->self, &region, 1, &err), MP_OK);
    assert_true(region.intact);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(((unsigned char *)fake_memory((uintptr_t)again))[i],
                         (MP_POISON_B >> 8 * (i % 4)) & 0xFF);
    space->free(space->self, again);
    space->free(space->self, other);
    const int kept = fake.live;
    fake.no_memory = 1;
    assert_int_equal(space->alloc(space->self, 5000, MP_POISON_A, &again, &err), MP_OK);
    assert_true(fake.live < kept); /* all that was kept for one that is new */
    fake.no_memory = 2;
    assert_int_equal(space->alloc(space->self, 6000, MP_POISON_A, &other, &err), MP_EMEMORY);
    fake.no_memory = 0;
    space->free(space->self, again);
    mp_cuda_close(cuda);
    assert_int_equal(fake.live, 0);
}

/* For programs that launch kernels of their own: no NVRTC and no architecture is asked for, a buffer is alone
 * in its blocks, and digests are those of the bytes. */
static void memory_alone_needs_no_compiler(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        mp_cuda *cuda = NULL;
        mp_error err = {0};
        void *data = NULL, *copy = NULL;
        mp_cuda_handle handle, other;
        size_t offset = 0;
        uint64_t before_change;
        fake.architecture = 75; /* which this NVRTC does not know */
        if (mp_cuda_open_memory(&cuda, &err) != MP_OK) fail_msg("%s", err.text);
        assert_string_equal(mp_cuda_versions(cuda), "driver 13.0, sm_75");
        const mp_space *space = mp_cuda_space(cuda);
        const size_t bytes = (size_t)(i ? MP_CUDA_BLOCK_BYTES - 2 * MP_GUARD_BYTES + 1 : 1000),
                     before = fake.bytes;
        assert_int_equal(space->alloc(space->self, bytes, MP_POISON_A, &data, &err), MP_OK);
        assert_int_equal(fake.bytes - before, (i + 1) * MP_CUDA_BLOCK_BYTES);
        assert_int_equal(space->alloc(space->self, bytes, MP_POISON_A, &copy, &err), MP_OK);
        assert_int_equal(mp_cuda_share(cuda, data, &handle, &offset, &err), MP_OK);
        assert_int_equal(mp_cuda_share(cuda, copy, &other, &offset, &err), MP_OK);
        assert_int_equal(offset, MP_GUARD_BYTES);
        assert_memory_not_equal(&handle, &other, sizeof(void *));
        mp_region both[] = {{.data = data, .bytes = bytes, .digested = bytes},
                            {.data = copy, .bytes = bytes, .digested = bytes}};
        assert_int_equal(space->survey(space->self, both, 2, &err), MP_OK);
        assert_true(both[0].digest == both[1].digest && both[0].intact && both[1].intact);
        before_change = both[1].digest;
        ((unsigned char *)fake_memory((uintptr_t)copy))[bytes - 1] ^= 1;
        assert_int_equal(space->survey(space->self, both, 2, &err), MP_OK);
        assert_true(both[0].digest == before_change && both[1].digest != before_change);
        space->free(space->self, data);
        space->free(space->self, copy);
        fake.failing = fake.calls + 1; /* the second call of sharing */
        assert_int_equal(mp_cuda_share(cuda, data, &handle, &offset, &err), MP_EDEVICE);
        fake.failing = -1;
        mp_cuda_close(cuda);
        assert_int_equal(fake.live, 0);
    }
    fake.architecture = 90;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_buffers_have_guards_at_every_size),
        cmocka_unit_test(large_tensors_cross_whole),
        cmocka_unit_test(small_work_is_put_off_and_comes_to_the_same),
        cmocka_unit_test(what_is_freed_is_left_alone),
        cmocka_unit_test(digests_that_nobody_made_are_equal_to_none),
        cmocka_unit_test(memory_of_the_same_size_is_used_again),
        cmocka_unit_test(memory_alone_needs_no_compiler),
    };
    return run_device_tests(tests);
}
