/* SPDX-License-Identifier: Apache-2.0 */
/* MP_CLONES before a static function: it is compiled for several x86-64 levels and the best one is chosen
 * when the program starts. For loops that the compiler vectorises; they give the same bits at every level,
 * because nothing is contracted or reordered. */
#ifndef MP_BASE_CLONES_H
#define MP_BASE_CLONES_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define MP_CLONES __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
/* fma() as an instruction; libm's gives the same bits. */
#define MP_CLONES_FMA __attribute__((target_clones("default", "fma")))
#else
#define MP_CLONES
#define MP_CLONES_FMA
#endif

#endif
