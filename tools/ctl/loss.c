/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/loss.c
 * Purpose.     A refusal with a statement of loss, as a table or as JSON (DESIGN.md P6).
 */
#include <stdio.h>
#include <string.h>

#include "tools/ctl/json.h"
#include "tools/ctl/show.h"

static void amount(char *ret, size_t bytes, bool known, uint64_t n, uint64_t least)
{
	if (known)
		snprintf(ret, bytes, "%llu bytes", (unsigned long long)n);
	else if (least != 0)
		snprintf(ret, bytes, "unknown, at least %llu bytes", (unsigned long long)least);
	else
		snprintf(ret, bytes, "unknown");
}

void show_loss(FILE *out, const Adm__Loss *l)
{
	char text[64], time[32] = "time not known";

	amount(text, sizeof(text), l->bytes_known, l->bytes, l->at_least);
	fprintf(out, "  %-14s %s\n", "would be lost", text);
	if (l->seconds_known)
		fprintf(out, "  %-14s %.1f s of writes\n", "", l->seconds);
	if (l->newest_time_ns != 0)
		time_text(l->newest_time_ns, time);
	fprintf(out, "  %-14s LSN %llu, %s\n", "newest here", (unsigned long long)l->newest_lsn,
		time);
	if (l->heard_time_ns != 0) {
		time_text(l->heard_time_ns, time);
		fprintf(out, "  %-14s LSN %llu, heard %s\n", "newest there",
			(unsigned long long)l->heard_lsn, time);
	}
	if (l->newer_at[0] != '\0')
		fprintf(out, "  %-14s %s\n", "newer at", l->newer_at);
	for (size_t i = 0; i < l->n_fence; i++)
		fprintf(out, "  %-14s %s\n", i == 0 ? "to be fenced" : "", l->fence[i]);
}

void loss_json(struct json *j, const Adm__Loss *l)
{
	json_object(j, "loss");
	if (l->bytes_known)
		json_number(j, "bytes", l->bytes);
	else
		json_text(j, "bytes", "unknown");
	if (l->seconds_known)
		json_real(j, "seconds", l->seconds);
	else
		json_text(j, "seconds", "unknown");
	json_number(j, "at_least", l->at_least);
	json_object(j, "newest_here");
	json_number(j, "lsn", l->newest_lsn);
	json_time(j, "time", l->newest_time_ns);
	json_close_object(j);
	if (l->newer_at[0] != '\0')
		json_text(j, "newer_at", l->newer_at);
	else
		json_null(j, "newer_at");
	json_object(j, "heard");
	json_number(j, "lsn", l->heard_lsn);
	json_time(j, "time", l->heard_time_ns);
	json_close_object(j);
	json_close_object(j);
	json_array(j, "fence");
	for (size_t i = 0; i < l->n_fence; i++)
		json_text(j, NULL, l->fence[i]);
	json_close_array(j);
}
