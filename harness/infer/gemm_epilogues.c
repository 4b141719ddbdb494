/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/infer/gemm_epilogues.h"

#include "moeparity/dtype.h"

const mp_infer_epilogue mp_infer_epilogues[MP_EPILOGUES] = {
    {"bw", "+ bias, * weight", true},
    {"wb", "* weight, + bias", false},
    {"rbw", "rounded, + bias, * weight", false},
    {"brw", "+ bias, rounded, * weight", false},
    {"rbrw", "rounded, + bias, rounded, * weight", false},
    {"rwb", "rounded, * weight, + bias", false},
    {"wrb", "* weight, rounded, + bias", false},
    {"bv", "+ bias, * weight in the tensor's format", false},
    {"brv", "+ bias, rounded, * weight in the tensor's format", false},
    {"vb", "* weight in the tensor's format, + bias", false},
    {"w", "no bias, * weight", false},
    {"b", "+ bias, no weight", false},
};

void mp_epilogue_steps(const mp_infer_epilogue *e, const mp_epilogue *has, bool wide,
                       char steps[MP_STEPS_MAX]) {
    int n = 0;
    for (const char *s = e->steps; *s; s++) {
        if (*s == 'b' && !has->bias) continue;
        if ((*s == 'w' || *s == 'v') && !has->weights) continue;
        if (*s == 'r' && (wide || (n > 0 && steps[n - 1] == 'r'))) continue;
        steps[n++] = *s == 'v' && wide ? 'w' : *s;
    }
    while (n > 0 && steps[n - 1] == 'r') n--;
    steps[n] = '\0';
}

void mp_epilogue_f32(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                     const float *bias, float *row) {
    for (; *steps; steps++) {
        float weight = has->weights ? has->weights[slot] : 1;
        if (*steps == 'v') weight = (float)mp_round_to(dtype, (double)weight);
        if (*steps == 'b')
            for (int64_t i = 0; i < n; i++) row[i] += bias[i];
        else if (*steps == 'r')
            for (int64_t i = 0; i < n; i++) row[i] = (float)mp_round_to(dtype, (double)row[i]);
        else
            for (int64_t i = 0; i < n; i++) row[i] *= weight;
    }
}

void mp_epilogue_f64(const char *steps, const mp_epilogue *has, mp_dtype dtype, int64_t slot, int64_t n,
                     const float *bias, double *row) {
    for (; *steps; steps++) {
        double weight = has->weights ? (double)has->weights[slot] : 1;
        if (*steps == 'v') weight = mp_round_to(dtype, weight);
        if (*steps == 'b')
            for (int64_t i = 0; i < n; i++) row[i] += (double)bias[i];
        else if (*steps == 'r')
            for (int64_t i = 0; i < n; i++) row[i] = mp_round_to(dtype, row[i]);
        else
            for (int64_t i = 0; i < n; i++) row[i] *= weight;
    }
}
