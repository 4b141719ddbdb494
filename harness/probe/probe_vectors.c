/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/probe/probe_vectors.h"

#include <stdlib.h>
#include <string.h>

#define ON_AMPERE(bits) [MP_UNIT_AMPERE] = bits
#define ON_HOPPER(bits) [MP_UNIT_HOPPER] = bits
#define ON_HOPPER_FP8(bits) [MP_UNIT_HOPPER_FP8] = bits

/* Worked by hand and confirmed on an H100; those of Ampere from the literature (MMA-Sim, arXiv
 * 2511.10909). */
const mp_probe_vector mp_probe_vectors[] = {
    /* bf16: groups of 16, F=25 on Hopper; groups of 8, F=24 on Ampere */
    {"1.5*1.5 keeps exponent 0: 2^-25 is not shifted out",
     MP_TC_BF16,
     "3FC0,3F80x8",
     "3FC0,3300x8",
     0,
     {ON_HOPPER("40100001")}},
    {"1*2.25 has exponent 1: 2^-25 is shifted out",
     MP_TC_BF16,
     "3F80,3F80x8",
     "4010,3300x8",
     0,
     {ON_HOPPER("40100000")}},
    {"the result is cut off, not rounded", MP_TC_BF16, "3F80", "3440", 0x3F800000, {ON_HOPPER("3F800001")}},
    {"2^-26 below 1 is shifted out", MP_TC_BF16, "3F80", "B280", 0x3F800000, {ON_HOPPER("3F800000")}},
    {"2^-25 below 1 is seen", MP_TC_BF16, "3F80", "B300", 0x3F800000, {ON_HOPPER("3F7FFFFF")}},
    {"sixteen times 2^-26: each is shifted out",
     MP_TC_BF16,
     "3F80x16",
     "3280x16",
     0x3F800000,
     {ON_HOPPER("3F800000")}},
    {"sixteen times 2^-25: each counts",
     MP_TC_BF16,
     "3F80x16",
     "3300x16",
     0x3F800000,
     {ON_HOPPER("3F800004")}},
    {"F: which of the small terms survive",
     MP_TC_BF16,
     "C600,BF00,BE80,BE00",
     "4480,3F80x3",
     0x4B000000,
     {ON_AMPERE("BF000000"), ON_HOPPER("BF400000")}},
    {"L: is k=8 in the group of k=0",
     MP_TC_BF16,
     "4580,C580,0000x6,3E80",
     "4580x2,0000x6,3F80",
     0,
     {ON_AMPERE("3E800000"), ON_HOPPER("00000000")}},
    {"2^128 is Inf", MP_TC_BF16, "7F00", "3F80", 0x7F000000, {ON_HOPPER("7F800000")}},
    {"beyond the largest number by less than a unit: cut off",
     MP_TC_BF16,
     "7280",
     "3F80",
     0x7F7FFFFF,
     {ON_HOPPER("7F7FFFFF")}},
    {"subnormal operands count", MP_TC_BF16, "0001", "4100", 0, {ON_HOPPER("00080000")}},
    {"subnormal results are made", MP_TC_BF16, "0D80", "2700", 0, {ON_HOPPER("00000001")}},
    {"e_zero is low: 2^-152 is not shifted out by zeros",
     MP_TC_BF16,
     "0D80x8",
     "2580x8",
     0,
     {ON_HOPPER("00000001")}},
    {"a zero product has e_zero, not its factor's exponent",
     MP_TC_BF16,
     "0000,3F80",
     "7F00,3080",
     0,
     {ON_HOPPER("30800000")}},
    {"a negative underflow is +0", MP_TC_BF16, "8D80", "2680", 0, {ON_HOPPER("00000000")}},
    {"a sum of -0 is +0", MP_TC_BF16, "8000x16", "0000x16", 0x80000000, {ON_HOPPER("00000000")}},
    {"products beyond 2^128 cancel, and shift c out",
     MP_TC_BF16,
     "7180,F180",
     "7180,7180",
     0x3F800000,
     {ON_HOPPER("00000000")}},
    {"0*Inf is NaN 7FFFFFFF", MP_TC_BF16, "0000", "7F80", 0, {ON_HOPPER("7FFFFFFF")}},
    {"Inf*-Inf is -Inf", MP_TC_BF16, "7F80", "FF80", 0, {ON_HOPPER("FF800000")}},
    {"random numbers",
     MP_TC_BF16,
     "3F71,BFB3,BF2E,3EBE,BF82,BD94,3E37,BF55,BFA8,3E47,3F7E,BF26,BEAB,3FD3,BF0F,BF04",
     "401A,BFC4,3F4C,C000,BF19,3FC0,3F9C,BF67,BEE8,3DA4,BFA1,3F0D,400F,BFAD,BFFE,3E94",
     0xBA9C2327,
     {ON_AMPERE("3FCA2164"), ON_HOPPER("3FCA2167")}},

    {"products are exact", MP_TC_FP16, "3C01", "3C01", 0, {ON_HOPPER("3F804008")}},
    {"the smallest subnormal squared", MP_TC_FP16, "0001", "0001", 0, {ON_HOPPER("27800000")}},
    {"sixteen times the largest squared", MP_TC_FP16, "7BFFx16", "7BFFx16", 0, {ON_HOPPER("517FC004")}},
    {"cancellation leaves the product's last bits",
     MP_TC_FP16,
     "3C01,BC00",
     "3C01,3C00",
     0xBB000000,
     {ON_HOPPER("35800000")}},

    {"the low 13 bits of an operand are dropped",
     MP_TC_TF32,
     "3F801FFF",
     "3F800000",
     0,
     {ON_HOPPER("3F800000")}},
    {"products are exact", MP_TC_TF32, "3F802000", "3F802000", 0, {ON_HOPPER("3F804008")}},
    {"a NaN that lies in the dropped bits is Inf",
     MP_TC_TF32,
     "7F800001",
     "3F800000",
     0,
     {ON_HOPPER("7F800000")}},

    /* e4m3: groups of 32 and 13 bits in wgmma; through f16 in mma.sync */
    {"c is cut to 13 bits, or kept",
     MP_TC_E4M3,
     "00",
     "00",
     0x3FFFFFFF,
     {ON_HOPPER("3FFFFC00"), ON_HOPPER_FP8("3FFFFFFF")}},
    {"448*448", MP_TC_E4M3, "7E", "7E", 0, {ON_HOPPER("48440000")}},
    {"448 + 2^-6: below F=13, or kept",
     MP_TC_E4M3,
     "7E,08",
     "38,38",
     0,
     {ON_HOPPER("43E00000"), ON_HOPPER_FP8("43E00200")}},
    {"448 + 2^-5: seen with F=13", MP_TC_E4M3, "7E,10", "38,38", 0, {ON_HOPPER("43E00400")}},
    {"32 times 2^-14 beside 1: each is shifted out",
     MP_TC_E4M3,
     "04x32",
     "04x32",
     0x3F800000,
     {ON_HOPPER("3F800000")}},
    {"32 times 2^-13 beside 1: each counts",
     MP_TC_E4M3,
     "08x32",
     "04x32",
     0x3F800000,
     {ON_HOPPER("3F808000")}},
    {"1 - 2^-14", MP_TC_E4M3, "84", "04", 0x3F800000, {ON_HOPPER_FP8("3F7FFC00")}},
    {"through f16: k=2 is added after k=0 and 1",
     MP_TC_E4M3,
     "7E,FE,01",
     "7E,7E,01",
     0,
     {ON_HOPPER_FP8("36800000")}},
    {"through f16: k=4 is in the group of k=0 and 1",
     MP_TC_E4M3,
     "7E,FE,00x2,01",
     "7E,7E,00x2,01",
     0,
     {ON_HOPPER_FP8("00000000")}},
    {"through f16: so is k=16",
     MP_TC_E4M3,
     "7E,FE,00x14,01",
     "7E,7E,00x14,01",
     0,
     {ON_HOPPER_FP8("00000000")}},

    {"small terms beside 2^23 are shifted out",
     MP_TC_E5M2,
     "F0,B8,B4,B0",
     "64,3C,3C,3C",
     0x4B000000,
     {ON_HOPPER("00000000")}},
    {"32 times the largest squared", MP_TC_E5M2, "7Bx32", "7Bx32", 0, {ON_HOPPER("51C40000")}},
    {"1.75*1.75 keeps exponent 0", MP_TC_E5M2, "3F,3Cx8", "3F,08x8", 0, {ON_HOPPER("40441000")}},
};
const int mp_probe_vector_count = sizeof mp_probe_vectors / sizeof *mp_probe_vectors;

mp_probe_unit mp_probe_unit_of(int sm, mp_tc_instruction instruction, mp_tc_input input) {
    const bool fp8 = input == MP_TC_E4M3 || input == MP_TC_E5M2;
    if (input == MP_TC_S8) return MP_UNIT_UNKNOWN;
    if (sm == 90) return fp8 && instruction == MP_TC_MMA ? MP_UNIT_HOPPER_FP8 : MP_UNIT_HOPPER;
    return sm >= 80 && sm < 90 && !fp8 ? MP_UNIT_AMPERE : MP_UNIT_UNKNOWN;
}

mp_status mp_probe_parse_codes(const char *list, int depth, uint32_t *codes, mp_error *err) {
    memset(codes, 0, (size_t)depth * sizeof *codes);
    const char *at = list;
    for (int k = 0; *at;) {
        char *end = NULL;
        const uint32_t code = (uint32_t)strtoul(at, &end, 16);
        const long repeat = *end == 'x' ? strtol(end + 1, &end, 10) : 1;
        if (end == at || (*end && *end != ',') || repeat < 1 || repeat > depth - k)
            return mp_fail(
                err, MP_EINTERNAL,
                "'%s': expected at most %d hexadecimal codes, like 3F80 or 3F80x8, with commas between", list,
                depth);
        for (long i = 0; i < repeat; i++) codes[k++] = code;
        at = *end ? end + 1 : end;
    }
    return MP_OK;
}
