/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_scrub.c
 * Purpose.     The command that has everything read and checked.
 */
#include "engine/admin/frame.h"
#include "tools/ctl/client.h"
#include "tools/ctl/ctl.h"
#include "tools/ctl/json.h"

static void show(const struct ctl *ctl, const Adm__ScrubReply *n)
{
	struct json j;

	if (!ctl->json) {
		printf("%llu bytes checked, %llu blocks bad, %llu repaired, %llu unrepairable\n",
		       (unsigned long long)n->bytes, (unsigned long long)n->bad,
		       (unsigned long long)n->repaired, (unsigned long long)n->unrepairable);
		return;
	}
	json_begin(&j, stdout);
	json_object(&j, NULL);
	json_text(&j, "result", "done");
	json_number(&j, "bytes", n->bytes);
	json_number(&j, "bad", n->bad);
	json_number(&j, "repaired", n->repaired);
	json_number(&j, "unrepairable", n->unrepairable);
	json_close_object(&j);
	json_end(&j);
}

int cmd_scrub(struct ctl *ctl, int argc, char **argv)
{
	const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *name = NULL;
	char group[NAME_BYTES_MAX + 1] = "";
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Scrub m = ADM__SCRUB__INIT;
	Adm__Response *r;
	struct client c;
	struct arena arena;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 1, &name);

	if (rc != 0 || (name != NULL && (rc = ctl_name(ctl, "group", name)) != 0))
		return rc;
	if (name != NULL)
		snprintf(group, sizeof(group), "%s", name);
	m.group = group;
	request.command_case = ADM__REQUEST__COMMAND_SCRUB;
	request.scrub = &m;
	rc = client_open(&c, ctl);
	if (rc != 0)
		return rc;
	arena_init(&arena, FRAME_ARENA_BYTES);
	rc = client_send(&c, &request);
	if (rc == 0)
		rc = client_take(&c, &arena, &r);
	if (rc == 0 && r->body_case != ADM__RESPONSE__BODY_SCRUB) {
		rc = ctl_fail(ctl, CTL_FAILED, "protocol", "", "the answer of %s is not understood",
			      ctl->admin);
	} else if (rc == 0) {
		show(ctl, r->scrub);
		rc = r->scrub->unrepairable > 0 ? CTL_FAILED : CTL_DONE;
	}
	arena_fini(&arena);
	client_close(&c);
	return rc;
}
