/* SPDX-License-Identifier: Apache-2.0 */
/* How a case numbers experts for whoever executes it. Inside the harness topk_ids are always those of this
 * rank's experts, with -1 for a slot that goes to none of them. A subject gets them so too, unless the case
 * says otherwise: with expert_map they count the experts of all ranks, and a tensor has the number on this
 * rank of each; with another sentinel than -1 a slot that goes to no expert has a number that no expert
 * has. */
#ifndef MP_CASES_NUMBERING_H
#define MP_CASES_NUMBERING_H

#include "moeparity/graph.h"

/* Whether a subject's topk_ids are not the harness's. */
bool mp_case_numbers_ids(const mp_case *c);

/* How many experts those ids count; E, or E*ep_size. */
int64_t mp_case_counted_experts(const mp_case *c);

/* The number on this rank of an expert of all ranks, or -1; and the other way round. */
int64_t mp_local_expert(const mp_case *c, int64_t global);
int64_t mp_global_expert(const mp_case *c, int64_t local);

/* What a subject gets as the id of a slot that was routed to this expert of all ranks; global < 0: to none,
 * for it is filtered or padding. */
int32_t mp_numbered_id(const mp_case *c, int64_t slot, int64_t global);

/* expert_map [E*ep_size]. */
void mp_fill_expert_map(const mp_case *c, const mp_tensor *map);

/* The way back: ids of this rank, or -1, of what a subject gets. expert_map: its data, or NULL where the case
 * has none. A number that no expert has is -1, whatever it is. */
void mp_read_numbered_ids(const mp_case *c, const int32_t *numbered, const int32_t *expert_map,
                          int32_t *topk_ids);

#endif
