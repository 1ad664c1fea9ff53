/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/main.c
 * Purpose.     `twinshore`: finds the command, takes the options that all of them have.
 * Failure.     Exit codes of enum exit_code; with --json every error is a document on stdout.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/base/size.h"
#include "tools/ctl/ctl.h"

#define ADMIN_DEFAULT "/run/twinshore/admin.sock"
#define TIMEOUT_DEFAULT_MS 30000u

static const struct command commands[] = {
#define COMMAND(name, synopsis, help, run) {name, synopsis, help, run},
#define LATER(name, synopsis, help) {name, synopsis, help, NULL},
#include "tools/ctl/commands.tbl"
#undef COMMAND
#undef LATER
};

static void usage(FILE *out)
{
	fprintf(out,
		"usage: twinshore [--admin SOCKET] [--json] [--timeout 30s] COMMAND\n\n"
		"  --admin SOCKET  of the daemon (default $TWINSHORE_ADMIN, then " ADMIN_DEFAULT
		")\n"
		"  --json          one JSON document on stdout, errors too\n"
		"  --timeout TIME  how long to wait for an answer (default 30s)\n"
		"  --version, --help\n\nCommands:\n");
	for (uint32_t i = 0; i < ARRAY_COUNT(commands); i++)
		fprintf(out, "  %s%s%s\n        %s%s\n", commands[i].name,
			commands[i].synopsis[0] != '\0' ? " " : "", commands[i].synopsis,
			commands[i].help,
			commands[i].run == NULL ? " (not available in this version)" : "");
	fprintf(out,
		"\nExit codes: 0 done, 1 failed, 2 usage, 3 refused because data could be lost,\n"
		"4 no such object, 5 no answer in time (the outcome may still happen).  See twinshore(1).\n");
}

/* The command that argv begins with, one word or two. */
static const struct command *command_find(int argc, char **argv, int *ret_words)
{
	char two[128];

	snprintf(two, sizeof(two), "%.60s %.60s", argv[0], argc > 1 ? argv[1] : "");
	for (uint32_t i = 0; i < ARRAY_COUNT(commands); i++) {
		bool pair = strchr(commands[i].name, ' ') != NULL;

		if (strcmp(commands[i].name, pair ? two : argv[0]) != 0)
			continue;
		*ret_words = pair ? 2 : 1;
		return &commands[i];
	}
	return NULL;
}

static int timeout_take(struct ctl *ctl, const char *text)
{
	uint64_t ns;

	if (duration_parse(text, &ns) < 0 || ns < 1000000u || ns > 86400000000000u)
		return ctl_usage(ctl, "'%.40s' is not a time: write 500ms, 30s, 2m", text);
	ctl->timeout_ms = (uint32_t)(ns / 1000000u);
	return 0;
}

/* One of the options of all commands at argv[i]: how many words it takes, 0: it is none, -1: told. */
static int global_take(struct ctl *ctl, int argc, char **argv, int i)
{
	static const char *const valued[] = {"--admin", "--timeout"};

	if (strcmp(argv[i], "--json") == 0) {
		ctl->json = true;
		return 1;
	}
	for (uint32_t k = 0; k < ARRAY_COUNT(valued); k++) {
		size_t n = strlen(valued[k]);
		bool glued = strncmp(argv[i], valued[k], n) == 0 && argv[i][n] == '=';
		const char *value = glued ? argv[i] + n + 1 : i + 1 < argc ? argv[i + 1] : NULL;

		if (!glued && strcmp(argv[i], valued[k]) != 0)
			continue;
		if (value == NULL) {
			ctl_usage(ctl, "option %s needs a value", valued[k]);
			return -1;
		}
		if (k == 0)
			ctl->admin = value;
		else if (timeout_take(ctl, value) != 0)
			return -1;
		return glued ? 1 : 2;
	}
	return 0;
}

/* They may stand anywhere; what is left is moved to the front of argv.  The new argc, or -1 (told). */
static int globals_take(struct ctl *ctl, int argc, char **argv)
{
	int left = 0, n;

	for (int i = 0; i < argc; i++) /* first, so that an error of another option knows it */
		ctl->json |= strcmp(argv[i], "--json") == 0;
	for (int i = 0; i < argc; i += n) {
		n = strcmp(argv[i], "--") == 0 ? 0 : global_take(ctl, argc, argv, i);
		if (n < 0)
			return -1;
		if (n == 0) {
			argv[left++] = argv[i];
			n = 1;
		}
	}
	return left;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.admin = getenv("TWINSHORE_ADMIN"), .timeout_ms = TIMEOUT_DEFAULT_MS};
	int words = 0, left, rc;

	if (ctl.admin == NULL || ctl.admin[0] == '\0')
		ctl.admin = ADMIN_DEFAULT;
	left = globals_take(&ctl, argc - 1, argv + 1);
	argv++;
	if (left < 0)
		return CTL_USAGE;
	for (int i = 0; i < left; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			usage(stdout);
			return CTL_DONE;
		}
	}
	if (left > 0 && strcmp(argv[0], "--version") == 0) {
		printf("twinshore %s\n", CTL_VERSION);
		return CTL_DONE;
	}
	if (left == 0)
		return ctl_usage(&ctl, "a command is missing");
	ctl.command = command_find(left, argv, &words);
	if (ctl.command == NULL)
		return ctl_usage(&ctl, "no command '%.60s%s%.60s'", argv[0], left > 1 ? " " : "",
				 left > 1 ? argv[1] : "");
	rc = ctl.command->run == NULL ? ctl_later(&ctl, ctl.command->name)
				      : ctl.command->run(&ctl, left - words, argv + words);
	if (fflush(stdout) != 0 && rc == 0)
		rc = CTL_FAILED;
	return rc;
}
