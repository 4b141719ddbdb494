/* SPDX-License-Identifier: Apache-2.0 */
/* cases/fill.c: the same bits everywhere, at any number of threads and of tokens, and others by another
 * seed. */
#include "tests/inputs_support.h"

#include <omp.h>

/* Every stored golden depends on them. When all have to change, MP_FILL_VERSION is raised; when some have,
 * goldens of such cases fail by the digests of their inputs, until they are recorded anew. */
static void digests_are_pinned(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        uint64_t digest;
    } pinned[] = {
        {"M=9 K=40 N=24 bias=1 data=normal", UINT64_C(0xA1DC3853C697AED4)},
        {"M=9 K=40 N=24 bias=1 data=integer", UINT64_C(0x458B1EC8C3EECA53)},
        {"M=9 K=40 N=24 bias=1 data=wide", UINT64_C(0x16DF6871539FBA77)},
        {"M=9 K=40 N=24 bias=1 data=onehot", UINT64_C(0x322FAB92D06F25EB)},
        {"M=9 K=40 N=24 bias=1 data=special", UINT64_C(0xB52B5885C80DBBD7)},
        {"M=9 K=40 N=24 bias=1 data=limits", UINT64_C(0x0CEF16B548A4533E)},
        {"M=9 K=40 N=24 bias=1 filter=0.5 routing=empty data=unused", UINT64_C(0x8E57DEA0F7CD8E1E)},
        {"M=9 K=40 N=24 dtype=fp16 data=overflow", UINT64_C(0x9A12F3737AF6380E)},
        {"M=9 topk=5 K=40 scope=combine dtype=fp16 data=overflow", UINT64_C(0xA935A22CC8D9B6B3)},
        {"M=9 K=40 N=24 dtype=fp16 data=wide", UINT64_C(0x0331A4521C8AFAC2)},
        {"M=9 K=40 N=24 dtype=fp16 data=special", UINT64_C(0x63E061807071678B)},
        {"M=9 K=40 N=24 dtype=fp32 data=wide", UINT64_C(0x5039B5FA63B99580)},
        {"M=9 K=40 N=24 dtype=fp32 data=special", UINT64_C(0xD1F738C937D92D37)},
        {"M=9 topk=5 K=40 scope=combine dtype=fp64", UINT64_C(0x6A4163BDCC5FBED0)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive", UINT64_C(0x3AB185AB65BA2DCB)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive gated=0", UINT64_C(0xCEE5ED6281F3F7E7)},
        {"M=5 topk=1 N=14001 scope=act data=exhaustive interleaved=1 dtype=fp16 seed=1",
         UINT64_C(0xA6F161BCE7BF6B24)},
        {"M=9 K=40 N=24 quant=nvfp4 data=codes", UINT64_C(0x76CD2158240E9BE1)},
        {"M=9 K=40 N=24 quant=int8-w8a16-group dtype=fp16 data=codes", UINT64_C(0x11BC94AD84F1645A)},
        {"M=9 K=40 N=24 quant=mxfp4 data=codes", UINT64_C(0x98346AE4097A70A1)},
        {"M=9 K=64 N=32 quant=mxfp8 scope=gate_up data=codes", UINT64_C(0xE981153BE0237228)},
        {"M=9 K=64 N=32 quant=nvfp4 scope=gate_up", UINT64_C(0x70015F4547280788)},
        {"M=9 K=64 N=32 quant=nvfp4 scope=down", UINT64_C(0xAECCBCCF6B3B3CBA)},
        {"M=9 K=40 N=24 lora_adapters=3 lora_map=segments", UINT64_C(0x71E5FAD020C022CA)},
        {"M=99 E=60 topk=4 scope=align routing=uniform", UINT64_C(0x89D6754D025774E4)},
        {"M=99 E=60 topk=4 scope=align routing=zipf", UINT64_C(0xD222DD780991476B)},
        {"M=99 E=60 topk=4 scope=align routing=hot", UINT64_C(0x64465A98ECB79018)},
        {"M=99 E=60 topk=4 scope=align routing=empty", UINT64_C(0xC425102DDA48E2E4)},
        {"M=99 E=60 topk=4 scope=align routing=first", UINT64_C(0x98B942BFD7E14BBA)},
        {"M=99 E=60 topk=4 scope=align routing=last", UINT64_C(0xBB641F96E0A1E88A)},
        {"M=99 E=60 topk=4 scope=align routing=duplicates", UINT64_C(0xC5DDFE26BD7CAD9B)},
        {"M=99 E=60 topk=4 scope=align routing=padded", UINT64_C(0x8C32CA86229EDD2E)},
        {"M=99 E=60 topk=4 scope=align filter=0.3", UINT64_C(0xD4536A8C652461A7)},
        {"M=99 E=60 topk=4 scope=align ep_size=3 ep_rank=1", UINT64_C(0xCDC1482457CD4E59)},
    };
    bool equal = MP_FILL_VERSION == 1;
    for (size_t i = 0; i < COUNT(pinned); i++) {
        fixture f = made(pinned[i].text);
        const uint64_t digest = mp_inputs_digest(&f.in);
        if (digest != pinned[i].digest) {
            print_error("{\"%s\", UINT64_C(0x%016llX)},\n", pinned[i].text, (unsigned long long)digest);
            equal = false;
        }
        mp_inputs_destroy(&f.in);
    }
    assert_true(equal);
}

static void threads_do_not_matter(void **unused) {
    (void)unused;
    static const char *const texts[] = {"M=37 bias=1",
                                        "M=37 data=wide dtype=fp16",
                                        "M=37 data=special routing=zipf",
                                        "M=1003 scope=align routing=hot filter=0.5",
                                        "M=37 scope=combine dtype=fp64",
                                        "M=101 data=integer routing=duplicates topk=4"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        uint64_t digest[3];
        for (int t = 0; t < 3; t++) {
            omp_set_num_threads(t == 0 ? 1 : t == 1 ? 2 : 7);
            fixture f = made(texts[i]);
            digest[t] = mp_inputs_digest(&f.in);
            mp_inputs_destroy(&f.in);
        }
        assert_true(digest[0] == digest[1] && digest[0] == digest[2]);
    }
    omp_set_num_threads(2);
}

/* A token's inputs do not depend on how many tokens there are, nor its ids on their number. */
static void a_larger_batch_begins_with_the_smaller(void **unused) {
    (void)unused;
    fixture a = made("M=5 K=70 N=30"), b = made("M=9 K=70 N=30");
    for (int t = 0; t < MP_TENSOR_COUNT; t++) {
        if (a.in.t[t].data) assert_memory_equal(a.in.t[t].data, b.in.t[t].data, mp_tensor_bytes(&a.in.t[t]));
    }
    mp_inputs_destroy(&a.in);
    mp_inputs_destroy(&b.in);
}

static void seeds_and_tensors_differ(void **unused) {
    (void)unused;
    fixture a = made("M=64 K=64 N=64"), b = made("M=64 K=64 N=64 seed=1");
    int same = 0;
    for (int64_t i = 0; i < 64 * 64; i++) same += value(&a, MP_X, i) == value(&b, MP_X, i);
    assert_true(same < 100);
    for (int lag = -2; lag <= 2; lag++) { /* streams are not shifted copies of each other */
        double product = 0;
        for (int64_t i = 2; i < 64 * 64 - 2; i++)
            product += value(&a, MP_X, i) * value(&b, MP_X, i + lag) +
                       value(&a, MP_X, i) * value(&a, MP_W1, i + lag);
        assert_true(fabs(product) / 4096 <
                    0.15); /* six standard deviations: sqrt(2)*1.33/sqrt(4096)... of products near 1 */
    }
    mp_inputs_destroy(&a.in);
    mp_inputs_destroy(&b.in);
}

/* A family without rules fills with what no check passes, not with the numbers of another family. */
static void no_family_is_no_other_family(void **unused) {
    (void)unused;
    fixture f = {.c = mp_case_default()};
    mp_error err;
    f.c.data = MP_DATA_COUNT;
    f.c.routing = MP_ROUTING_COUNT;
    assert_int_equal(mp_inputs_create(&f.c, &f.in, &err), MP_OK);
    static const mp_tensor_id filled[] = {MP_X, MP_W1, MP_W2};
    for (size_t i = 0; i < COUNT(filled); i++)
        for (int64_t k = 0; k < mp_tensor_count(&f.in.t[filled[i]]); k++)
            assert_true(isnan(value(&f, filled[i], k)));
    for (int64_t t = 0; t < mp_case_slots(&f.c); t++) assert_int_equal(ids_of(&f)[t], -1);
    mp_inputs_destroy(&f.in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_pinned),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(a_larger_batch_begins_with_the_smaller),
        cmocka_unit_test(seeds_and_tensors_differ),
        cmocka_unit_test(no_family_is_no_other_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
