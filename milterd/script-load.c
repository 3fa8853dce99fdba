/* SPDX-License-Identifier: MIT */

/*
 * Scripts as the configuration has them, and their files. A file is read and compiled when the
 * configuration is, and not looked at again: so a script changes with a reload and never between,
 * and one that does not compile keeps the configuration that is there.
 */

#include "milterd/script-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "milterd/buffer.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
/* The manager, which a service manager watches, waits for it. */
#define LOAD_USEC_MAX USEC_PER_SEC
#define MEGABYTE ((uint64_t)1024 * 1024)

static const char *const on_error_names[] = {
    [SCRIPT_ON_ERROR_TEMPFAIL] = "tempfail",
    [SCRIPT_ON_ERROR_ACCEPT] = "accept",
    NULL,
};

/* They stand in logs, and in front of Lua's messages. */
static int check_name(ConfigFile *file, const ConfigNode *node, void *target)
{
    const char *name = *(char **)target;
    size_t length = strlen(name);
    char path[CONFIG_NODE_PATH_MAX];

    if (length == 0 || length > VM_NAME_MAX ||
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") !=
            length)
        config_error(file, node,
                     "%s: \"%.100s\" is no name; allowed are 1 to %d of A-Z a-z 0-9 . _ : -",
                     config_node_path(node, path), name, VM_NAME_MAX);
    return 0;
}

const ConfigKey script_keys[] = {
    { "name", CONFIG_STRING, offsetof(Script, name), .required = true, .parse = check_name },
    { "file", CONFIG_PATH, offsetof(Script, file), .required = true },
    { "memory", CONFIG_SIZE, offsetof(Script, memory), .fallback = "\"16M\"",
      .min = 256 * (uint64_t)1024, .max = 256 * MEGABYTE },
    { "time", CONFIG_DURATION, offsetof(Script, time_usec), .fallback = "\"500ms\"",
      .min = USEC_PER_MSEC, .max = 15 * USEC_PER_SEC },
    { "on_error", CONFIG_CHOICE, offsetof(Script, on_error), .fallback = "\"tempfail\"",
      .choices = on_error_names },
    {},
};

void script_free(void *item)
{
    Script *script = item;

    if (!script)
        return;
    vm_code_done(&script->code);
    names_done(&script->outline.macros);
    free(script->failures);
    config_target_done(script_keys, script);
    free(script);
}

int scripts_check(ConfigFile *file, const ConfigNode *node, void *target)
{
    const ScriptSet *scripts = target;

    if (scripts->n > SCRIPTS_MAX)
        config_error(file, node, "scripts: there are %zu, at most %d are allowed", scripts->n,
                     SCRIPTS_MAX);
    for (size_t i = 1; i < scripts->n; i++) {
        const Script *script = scripts->items[i];
        size_t k = 0;

        while (k < i && !(script->name && ((Script *)scripts->items[k])->name &&
                          streq(script->name, ((Script *)scripts->items[k])->name)))
            k++;
        if (k < i)
            config_error(file, config_node_get(config_node_at(node, i), "name"),
                         "scripts[%zu].name: \"%.100s\" is the name of scripts[%zu] already; each "
                         "script needs one of its own",
                         i, script->name, k);
    }
    return 0;
}

/* The whole file; -EFBIG where it is too large, -EINVAL where it is no file. */
static int read_file(const char *path, Buffer *buffer)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EINVAL;
    for (;;) {
        char bytes[16384];
        ssize_t n = read(fd, bytes, sizeof(bytes));

        if (n < 0)
            return -errno;
        if (n == 0)
            return buffer->failed ? -ENOMEM : 0;
        buffer_add(buffer, bytes, (size_t)n);
        if (buffer->full)
            return -EFBIG;
    }
}

/* "tagger:12: what" of Lua becomes "FILE:12: what". */
static void report(const Script *script, ConfigFile *file, const char *reason)
{
    size_t length = strlen(script->name);

    if (strncmp(reason, script->name, length) == 0 && reason[length] == ':')
        reason += length + 1;
    if (*reason >= '0' && *reason <= '9')
        config_error_elsewhere(file, "%s:%s", script->file, reason);
    else
        config_error_elsewhere(file, "%s: %s", script->file, reason + strspn(reason, " "));
}

static int load(Script *script, ConfigFile *file, const ConfigNode *node)
{
    const VmLimits limits = {
        .memory = script->memory,
        .time_usec = MIN(script->time_usec, LOAD_USEC_MAX),
    };
    _cleanup_(buffer_done) Buffer buffer = { .max = FILE_MAX_BYTES };
    char reason[VM_REASON_MAX], path[CONFIG_NODE_PATH_MAX];
    int r = read_file(script->file, &buffer);

    if (r == -ENOMEM)
        return r;
    if (r < 0) {
        config_error(file, node,
                     "%s: %s: %s; it must be a file of at most 1 MB that milterd may "
                     "read",
                     config_node_path(node, path), script->file,
                     r == -EINVAL ? "no file" : strerrordesc_np(-r));
        return 0;
    }
    r = script_compile(script->name, buffer.data ? buffer.data : "", buffer.size, &limits,
                       &script->code, &script->outline, reason);
    if (r == -ENOMEM)
        return r;
    if (r == -EINVAL)
        report(script, file, reason);
    else if (r < 0)
        config_error_elsewhere(file, "%s: can't be compiled now: %s", script->file, strerror(-r));
    return 0;
}

int scripts_load(const ScriptSet *scripts, ConfigFile *file)
{
    const ConfigNode *list = config_find(file, "scripts");

    for (size_t i = 0; i < scripts->n; i++) {
        Script *script = scripts->items[i];
        int r = 0;

        script->failures = script_failures_new();
        if (!script->failures)
            return -ENOMEM;
        if (script->name && script->file)
            r = load(script, file, config_node_get(config_node_at(list, i), "file"));
        if (r < 0)
            return r;
    }
    return 0;
}
