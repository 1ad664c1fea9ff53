/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/cmd_role.c
 * Purpose.     The commands that change which site is primary: switchover and failover.
 */
#include <string.h>

#include "engine/base/size.h"
#include "tools/ctl/client.h"
#include "tools/ctl/ctl.h"

/* Option --to, which must be there; copied for protobuf-c. */
static int take_site(const struct ctl *ctl, const char *to, char text[SITE_NAME_BYTES_MAX + 1])
{
	if (to == NULL)
		return ctl_usage(ctl, "option --to is missing: the site that shall be primary");
	if (!site_name_is_valid(to))
		return ctl_usage(
			ctl, "'%.80s' is not a name of a site: 1 to 32 of a-z, 0-9 and '-'", to);
	snprintf(text, SITE_NAME_BYTES_MAX + 1, "%s", to);
	return 0;
}

int cmd_switchover(struct ctl *ctl, int argc, char **argv)
{
	const char *to = NULL, *name = NULL;
	bool all = false;
	const struct opt opts[] = {{"--to", &to, NULL, false},
				   {"--all", NULL, &all, false},
				   {NULL, NULL, NULL, false}};
	char group[NAME_BYTES_MAX + 1] = "", site[SITE_NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Switchover m = ADM__SWITCHOVER__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 0, 1, &name);

	if (rc != 0 || (rc = take_site(ctl, to, site)) != 0)
		return rc;
	if (all == (name != NULL))
		return ctl_usage(ctl, "name one group, or say --all");
	if (name != NULL && (rc = ctl_name(ctl, "group", name)) != 0)
		return rc;
	if (name != NULL)
		snprintf(group, sizeof(group), "%s", name);
	m.group = group;
	m.all = all;
	m.site = site;
	request.command_case = ADM__REQUEST__COMMAND_SWITCHOVER;
	request.switchover = &m;
	return client_change(ctl, &request, all ? "site" : "group", all ? site : group);
}

/* Every --fenced, in order; 0 or an exit code. */
static int take_fenced(const struct ctl *ctl, int argc, char **argv, Adm__Failover *m,
		       char sites[SITES_MAX][SITE_NAME_BYTES_MAX + 1], char *list[SITES_MAX])
{
	static const char name[] = "--fenced";
	size_t n = sizeof(name) - 1;

	for (int i = 0; i < argc; i++) {
		const char *site = NULL;

		if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
			site = argv[i] + n + 1;
		else if (strcmp(argv[i], name) == 0 && i + 1 < argc)
			site = argv[++i];
		if (site == NULL)
			continue;
		if (!site_name_is_valid(site))
			return ctl_usage(ctl, "'%.80s' is not a name of a site", site);
		if (m->n_fenced == SITES_MAX)
			return ctl_usage(ctl, "at most %u sites can be fenced", SITES_MAX);
		snprintf(sites[m->n_fenced], SITE_NAME_BYTES_MAX + 1, "%s", site);
		list[m->n_fenced] = sites[m->n_fenced];
		m->n_fenced++;
	}
	m->fenced = list;
	return 0;
}

static int take_loss(const struct ctl *ctl, const char *text, Adm__Failover *m)
{
	if (text == NULL)
		return 0;
	if (strcmp(text, "unknown") == 0) {
		m->accept_unknown = true;
		return 0;
	}
	m->accept = true;
	if (strcmp(text, "0") != 0 && size_parse(text, &m->accept_bytes) < 0)
		return ctl_usage(ctl,
				 "option --accept-loss is a size like 4096 or 1MiB, or 'unknown', "
				 "not '%.40s'",
				 text);
	return 0;
}

int cmd_failover(struct ctl *ctl, int argc, char **argv)
{
	const char *to = NULL, *name, *loss = NULL, *fenced = NULL, *reason = NULL;
	const struct opt opts[] = {{"--to", &to, NULL, false},
				   {"--accept-loss", &loss, NULL, false},
				   {"--fenced", &fenced, NULL, false},
				   {"--reason", &reason, NULL, false},
				   {"--without-quorum", NULL, NULL, true},
				   {NULL, NULL, NULL, false}};
	char group[NAME_BYTES_MAX + 1], site[SITE_NAME_BYTES_MAX + 1], why[96] = "";
	char sites[SITES_MAX][SITE_NAME_BYTES_MAX + 1], *list[SITES_MAX];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Failover m = ADM__FAILOVER__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 1, 1, &name);

	if (rc != 0 || (rc = ctl_name(ctl, "group", name)) != 0 ||
	    (rc = take_site(ctl, to, site)) != 0 || (rc = take_loss(ctl, loss, &m)) != 0 ||
	    (rc = take_fenced(ctl, argc, argv, &m, sites, list)) != 0)
		return rc;
	snprintf(group, sizeof(group), "%s", name);
	if (reason != NULL)
		snprintf(why, sizeof(why), "%s", reason);
	m.group = group;
	m.site = site;
	m.reason = why;
	request.command_case = ADM__REQUEST__COMMAND_FAILOVER;
	request.failover = &m;
	return client_change(ctl, &request, "group", group);
}

/* pause and resume. */
static int site_flow(struct ctl *ctl, int argc, char **argv, bool resume)
{
	static const struct opt opts[] = {{NULL, NULL, NULL, false}};
	const char *names[2];
	char group[NAME_BYTES_MAX + 1], site[SITE_NAME_BYTES_MAX + 1];
	Adm__Request request = ADM__REQUEST__INIT;
	Adm__Pause m = ADM__PAUSE__INIT;
	int rc = ctl_parse(ctl, argc, argv, opts, 2, 2, names);

	if (rc != 0 || (rc = ctl_name(ctl, "group", names[0])) != 0)
		return rc;
	if (!site_name_is_valid(names[1]))
		return ctl_usage(ctl,
				 "'%.80s' is not a name of a site: 1 to 32 of a-z, 0-9 and '-'",
				 names[1]);
	snprintf(group, sizeof(group), "%s", names[0]);
	snprintf(site, sizeof(site), "%s", names[1]);
	m.group = group;
	m.site = site;
	m.resume = resume;
	request.command_case = ADM__REQUEST__COMMAND_PAUSE;
	request.pause = &m;
	return client_change(ctl, &request, "group", group);
}

int cmd_pause(struct ctl *ctl, int argc, char **argv)
{
	return site_flow(ctl, argc, argv, false);
}

int cmd_resume(struct ctl *ctl, int argc, char **argv)
{
	return site_flow(ctl, argc, argv, true);
}
