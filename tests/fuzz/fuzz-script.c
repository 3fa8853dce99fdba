/* SPDX-License-Identifier: MIT */

/*
 * A script that does with a hostile mail what scripts do, and searches it for a pattern of its
 * choice. Nothing that it wants done may be more than it says.
 */

#include "tests/fuzz/fuzz.h"

#include "milterd/explain.h"
#include "milterd/mime.h"
#include "milterd/regex.h"
#include "milterd/vm.h"

static const char text[] =
    "local re = regex('(?i)(pass\\\\w*)\\\\s*[:=]\\\\s*(\\\\S+)')\n"
    "function message(m)\n"
    "  local first = m.headers[1]\n"
    "  local pattern = first and first.value or ''\n"
    "  pcall(string.find, m.body, pattern)\n"
    "  pcall(string.gsub, m.text, pattern, '%0%1')\n"
    "  pcall(function() for a, b in m.text:gmatch(pattern) do m.data[a] = b end end)\n"
    "  pcall(re.match, re, m.text)\n"
    "  for i, h in ipairs(m.headers) do\n"
    "    m:add_header('X-Copy', h.text)\n"
    "    m:insert_header(0, 'X-Raw', h.value)\n"
    "    pcall(m.add_header, m, h.name, h.value)\n"
    "    pcall(m.add_rcpt, m, h.value)\n"
    "    if i > 20 then break end\n"
    "  end\n"
    "  m:change_header('Subject', m.body) m:replace_body(m.body) m:quarantine(m.body)\n"
    "  pcall(m.alert, m, { title = pattern, text = m.body, key = m.text })\n"
    "  return m:reply('550', '5.7.1', pattern, m.text, m.body)\n"
    "end\n";

static void check_header(const char *value)
{
    for (const char *c = value; *c; c++) {
        REQUIRE((unsigned char)*c < 0x80 && *c != '\r');
        REQUIRE(*c != '\n' || c[1] == ' ' || c[1] == '\t');
    }
}

static void check_wishes(const ScriptWishes *wishes)
{
    for (size_t i = 0; i < wishes->actions.n; i++) {
        const Action *action = &wishes->actions.items[i];

        if (action->name)
            REQUIRE(!strpbrk(action->name, "\r\n "));
        if (action->value && action->type != ACTION_REPLACE_BODY)
            check_header(action->value);
    }
}

static void check_reply(const Reply *reply)
{
    for (size_t i = 0; i < reply->n_lines; i++)
        for (const char *c = reply->lines[i]; *c; c++)
            REQUIRE(*c >= ' ' && *c < 0x7F);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const VmLimits limits = { .memory = 16 << 20, .time_usec = 500 * USEC_PER_MSEC };
    static VmOutline outline;
    static VmCode code;
    _cleanup_(mail_done) Mail mail = {};
    ScriptView view = { .event = SCRIPT_MESSAGE, .mail = &mail, .offered = ~0U };
    char reason[VM_REASON_MAX];
    ScriptWishes wishes = {};
    VmResult result = {};
    Vm *vm;

    if (!code.bytes) {
        mime_init();
        REQUIRE(vm_compile("fuzz", text, strlen(text), &limits, &code, &outline, reason) == 0);
    }
    REQUIRE(explain_read_mail(&mail, (const char *)data, size, 1 << 20) == 0);
    REQUIRE(vm_new("fuzz", &code, &limits, &vm, reason) == 0);
    script_wishes_begin(&wishes);
    if (vm_call(vm, &view, &wishes, &result, reason) == 0) {
        check_wishes(&wishes);
        check_reply(result.reply);
    }
    free(result.reply);
    script_wishes_done(&wishes);
    vm_free(vm);
    return 0;
}
