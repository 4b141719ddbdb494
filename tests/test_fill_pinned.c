/* SPDX-License-Identifier: Apache-2.0 */
/* cases/fill.c: every family in every format, scheme and scope that takes it has the bits that it always had.
 * Of all such cases of a family one digest, which was taken before a device could make them. */
#include "base/mix.h"
#include "tests/inputs_support.h"

#include <stdio.h>

static const char *const formats[] = {"",
                                      "dtype=fp16",
                                      "dtype=fp32",
                                      "dtype=fp64 scope=combine",
                                      "dtype=fp16 scope=act",
                                      "dtype=fp16 scope=down",
                                      "dtype=fp16 scope=combine",
                                      "scope=act",
                                      "scope=down",
                                      "scope=combine",
                                      "scope=gate_up",
                                      "routing=padded",
                                      "filter=0.3 bias=1",
                                      "quant=fp8-tensor",
                                      "quant=fp8-tensor-static",
                                      "quant=fp8-channel",
                                      "quant=fp8-block",
                                      "quant=fp8-block-ue8m0",
                                      "quant=int8-channel",
                                      "quant=int8-block",
                                      "quant=int8-w8a16",
                                      "quant=int8-w8a16-group dtype=fp16",
                                      "quant=int4-w4a16",
                                      "quant=int4-w4a16-zp",
                                      "quant=mxfp4",
                                      "quant=mxfp8",
                                      "quant=nvfp4",
                                      "quant=mxfp4-mxfp8",
                                      "quant=fp8-channel scope=gate_up",
                                      "quant=nvfp4 scope=gate_up routing=padded",
                                      "quant=int8-block scope=down",
                                      "quant=mxfp8 scope=down",
                                      "lora_adapters=5 lora_ranks=garbage lora_outer=copies",
                                      "lora_adapters=5 lora_ranks=zeros lora_outer=shared lora_rank=12",
                                      "lora_adapters=5 lora_ranks=zeros lora_outer=copies lora_data=same",
                                      "lora_adapters=5 lora_data=zero_b",
                                      "lora_adapters=3 lora_data=zero_a gated=0",
                                      "lora_adapters=3 scope=expand_gate_up",
                                      "lora_adapters=3 lora_data=same"};

/* Rows of more than one part. */
static const char *const formats_of_long_rows[] = {"", "dtype=fp32", "quant=int8-w8a16-group dtype=fp16",
                                                   "quant=int4-w4a16", "quant=int4-w4a16-zp"};

/* Takes the case into the digest, if there is one: no scheme takes some families. */
static void take_case(const char *shape, const char *family, const char *format, uint64_t *digest,
                      int *cases) {
    fixture f = {.c = mp_case_default()};
    mp_error err;
    char text[256];
    snprintf(text, sizeof text, "%s data=%s %s", shape, family, format);
    if (mp_case_parse(&f.c, text, &err) != MP_OK) return;
    assert_int_equal(mp_inputs_create(&f.c, &f.in, &err), MP_OK);
    *digest = mp_mix(*digest + 1) ^ mp_inputs_digest(&f.in);
    mp_inputs_destroy(&f.in);
    ++*cases;
}

static uint64_t digest_of_family(const char *family, int *cases) {
    uint64_t digest = 0;
    for (size_t i = 0; i < COUNT(formats); i++)
        take_case("M=13 E=4 topk=2 K=200 N=72 seed=3", family, formats[i], &digest, cases);
    for (size_t i = 0; i < COUNT(formats_of_long_rows); i++)
        take_case("M=2 E=2 topk=1 K=32 N=8300 seed=1", family, formats_of_long_rows[i], &digest, cases);
    return digest;
}

static void families_have_the_bits_that_they_had(void **unused) {
    (void)unused;
    static const struct {
        const char *name;
        int cases;
        uint64_t digest;
    } families[] = {
        {"normal", 38, UINT64_C(0x48D5827FFD1CEBDA)},  {"integer", 38, UINT64_C(0xD667C9BCDCFDE5B8)},
        {"wide", 38, UINT64_C(0x78A323DB242277C0)},    {"onehot", 38, UINT64_C(0x9A7774EA8BFB75F2)},
        {"special", 38, UINT64_C(0xA28B70D4E999BBE2)}, {"limits", 38, UINT64_C(0x3692AA552ACE2742)},
        {"overflow", 4, UINT64_C(0xB2BA3CC30F8252A3)}, {"unused", 38, UINT64_C(0x98375E4CFEC1C158)},
        {"codes", 22, UINT64_C(0x19074A9A32E3370A)},
    };
    bool equal = true;
    for (size_t i = 0; i < COUNT(families); i++) {
        int cases = 0;
        const uint64_t digest = digest_of_family(families[i].name, &cases);
        if (digest == families[i].digest && cases == families[i].cases) continue;
        print_error("{\"%s\", %d, UINT64_C(0x%016llX)},\n", families[i].name, cases,
                    (unsigned long long)digest);
        equal = false;
    }
    assert_true(equal);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_have_the_bits_that_they_had)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
