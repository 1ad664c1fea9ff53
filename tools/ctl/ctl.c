/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools/ctl/ctl.c
 * Purpose.     Arguments in, results and errors out, the same way for every command.
 */
#include "tools/ctl/ctl.h"

#include <stdarg.h>
#include <string.h>

#include "engine/base/err.h"
#include "engine/base/size.h"
#include "tools/ctl/json.h"

int ctl_fail(const struct ctl *ctl, int exit_code, const char *code, const char *hint,
	     const char *fmt, ...)
{
	char text[1024];
	struct json j;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	if (ctl->json) {
		json_begin(&j, stdout);
		json_object(&j, NULL);
		json_object(&j, "error");
		json_text(&j, "code", code);
		json_text(&j, "message", text);
		json_text(&j, "hint", hint);
		json_close_object(&j);
		json_close_object(&j);
		json_end(&j);
		return exit_code;
	}
	fprintf(stderr, "twinshore: %s\n", text);
	if (hint[0] != '\0')
		fprintf(stderr, "  %s\n", hint);
	return exit_code;
}

int ctl_usage(const struct ctl *ctl, const char *fmt, ...)
{
	char text[512], hint[512] = "see 'twinshore --help'";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (ctl->command != NULL)
		snprintf(hint, sizeof(hint), "usage: twinshore %s %s", ctl->command->name,
			 ctl->command->synopsis);
	return ctl_fail(ctl, CTL_USAGE, "usage", hint, "%s", text);
}

int ctl_later(const struct ctl *ctl, const char *what)
{
	return ctl_fail(ctl, CTL_FAILED, "unsupported", "", "%s is not available in this version",
			what);
}

int ctl_done(const struct ctl *ctl, const char *key, const char *value)
{
	struct json j;

	if (!ctl->json) {
		printf("done\n");
		return CTL_DONE;
	}
	json_begin(&j, stdout);
	json_object(&j, NULL);
	json_text(&j, "result", "done");
	if (key != NULL)
		json_text(&j, key, value);
	json_close_object(&j);
	json_end(&j);
	return CTL_DONE;
}

static const struct opt *opt_find(const struct opt *opts, const char *arg, size_t bytes)
{
	for (; opts->name != NULL; opts++)
		if (strlen(opts->name) == bytes && strncmp(opts->name, arg, bytes) == 0)
			return opts;
	return NULL;
}

int ctl_parse(const struct ctl *ctl, int argc, char **argv, const struct opt *opts,
	      uint32_t args_min, uint32_t args_max, const char **args)
{
	uint32_t n = 0;
	bool plain = false;

	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i], *equals = strchr(arg, '=');
		const struct opt *o;

		if (plain || arg[0] != '-' || arg[1] == '\0') {
			if (n == args_max)
				return ctl_usage(ctl, "one argument too many: '%s'", arg);
			args[n++] = arg;
			continue;
		}
		if (strcmp(arg, "--") == 0) {
			plain = true;
			continue;
		}
		o = opt_find(opts, arg, equals != NULL ? (size_t)(equals - arg) : strlen(arg));
		if (o == NULL)
			return ctl_usage(ctl, "no option %s", arg);
		if (o->later) {
			char what[160];

			snprintf(what, sizeof(what), "%s %s", ctl->command->name, o->name);
			return ctl_later(ctl, what);
		}
		if (o->value == NULL) {
			if (equals != NULL)
				return ctl_usage(ctl, "option %s takes no value", o->name);
			*o->flag = true;
		} else if (equals != NULL) {
			*o->value = equals + 1;
		} else if (i + 1 < argc) {
			*o->value = argv[++i];
		} else {
			return ctl_usage(ctl, "option %s needs a value", o->name);
		}
	}
	if (n < args_min)
		return ctl_usage(ctl, "an argument is missing");
	return 0;
}

int ctl_name(const struct ctl *ctl, const char *what, const char *text)
{
	if (name_is_valid(text))
		return 0;
	return ctl_usage(ctl,
			 "'%.80s' is not a name of a %s: 1 to 63 of letters, digits, '.', '_', '-'",
			 text, what);
}

static int split(const struct ctl *ctl, const char *text, char mark, char *group, char *name)
{
	const char *at = strchr(text, mark);

	if (at == NULL || at - text > (int)NAME_BYTES_MAX || strlen(at + 1) > NAME_BYTES_MAX)
		return ctl_usage(ctl, "'%.140s' is not GROUP%cNAME", text, mark);
	snprintf(group, NAME_BYTES_MAX + 1, "%.*s", (int)(at - text), text);
	snprintf(name, NAME_BYTES_MAX + 1, "%s", at + 1);
	return ctl_name(ctl, "group", group) != 0 ||
			       ctl_name(ctl, mark == '@' ? "snapshot" : "volume", name) != 0
		       ? CTL_USAGE
		       : 0;
}

int ctl_split(const struct ctl *ctl, const char *text, char group[NAME_BYTES_MAX + 1],
	      char name[NAME_BYTES_MAX + 1])
{
	return split(ctl, text, '/', group, name);
}

int ctl_split_snapshot(const struct ctl *ctl, const char *text, char group[NAME_BYTES_MAX + 1],
		       char name[NAME_BYTES_MAX + 1])
{
	return split(ctl, text, '@', group, name);
}

int ctl_size(const struct ctl *ctl, const char *text, uint64_t *ret_bytes)
{
	if (size_parse(text, ret_bytes) < 0)
		return ctl_usage(ctl, "'%.80s' is not a size: write 10GiB, 512MiB, 1TB", text);
	return 0;
}
