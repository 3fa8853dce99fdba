/* SPDX-License-Identifier: MIT */

/*
 * What secrets look like in the texts of monitoring systems, in the order in which they are looked
 * for: what is long and certain first.
 *
 * Words about passwords are the daily bread of alerts, so a name and a value must be joined by a
 * sign, and the value must be no ordinary word. Nothing here takes more steps than the text is
 * long, but for a factor: no group repeats what repeats itself, and all that comes before a name
 * is bounded.
 */

#include "milterd/redact-internal.h"

/* Names of secrets; what stands before is part of a longer name. PWD is a folder as well. */
#define NAME                                                                                       \
    "(?:passw(?:or)?d|passphrase|passcode|passwort|kennwort|"                                      \
    "pwd(?![\"']?[ \\t]*[:=][ \\t]*[\"']?[/~.])|"                                                  \
    "secret|token|api[_ -]?key|access[_-]?key|secret[_-]?key(?:_base)?|private[_-]?key|"           \
    "credentials?|[a-z0-9]_pass)[0-9]{0,2}"

#define NAME_NEEDLES                                                                               \
    {                                                                                              \
        "passw", "passp", "passc", "kennw", "pwd", "secret", "token", "key", "credential", "_pass" \
    }

/* What follows a name and its sign in sentences, */
#define WORDS                                                                                      \
    "(?:a|accepted|an|and|are|as|at|authenticated|authentication|bad|blank|but|by|can"             \
    "|cannot|changed|check|compat|complete|completed|could|db|denied|disabled|done|empty"          \
    "|enabled|error|expired|expires|expiring|fail|failed|failure|false|files|for|found"            \
    "|from|given|had|has|have|hidden|if|ignored|in|incorrect|instead|invalid|is|it|ldap"           \
    "|login|may|mismatch|missing|must|n/a|na|needed|nil|no|none|not|null|of|ok|okay|on"            \
    "|option|optional|or|pending|please|prompt|refused|rejected|removed|renewed|required"          \
    "|reset|revoked|rotated|set|should|skipped|sss|started|success|successful|that|the"            \
    "|this|timeout|to|too|true|unchanged|undefined|unknown|unset|unused|updated?|used|user"        \
    "|valid|was|were|when|will|with|would|wrong|yes|you|your)"

/* and what stands for values that are not there. */
#define NO_PLACEHOLDER                                                                             \
    "(?!\\[[a-z _-]*\\]|<[a-z _-]*>|[*]{2,}+(?!\\w)|x{3,}+(?!\\w)|[.]{3}(?!\\w)|\\$[{(]|"          \
    "(?-i:\\$[A-Z_]++)(?![^\\s\"',;)])|[0-9]{4}-[0-9]{2}-[0-9]{2})"

#define NO_WORD "(?!" WORDS "(?![\\w/+=-]))" NO_PLACEHOLDER

#define DOUBLE_QUOTED "\"(?!" WORDS "\")" NO_PLACEHOLDER "(?<secret>(?:[^\"\\\\\\n]|\\\\.)++)\""
#define SINGLE_QUOTED "'(?!" WORDS "')" NO_PLACEHOLDER "(?<secret>(?:[^'\\\\\\n]|\\\\.)++)'"

/* Without what ends a list or a sentence. */
#define BARE NO_WORD "(?<secret>[^\\s\"'&;<>]*[^\\s\"'&;<>,)\\]}.])"

const RedactBuiltin redact_builtins[] = {
    {
        "private-key",
        REDACT_OVER_LINES,
        "-----BEGIN (?:[A-Z0-9]+ ){0,4}PRIVATE KEY(?: BLOCK)?-----"
        "(?:[^-]++|-(?!----END ))*+(?:-----END [A-Z0-9 ]{0,40}-----)?",
        { "private key" },
    },
    {
        "private-key",
        REDACT_OVER_LINES,
        "Private-Lines: [0-9]{1,4}\\s+(?<secret>(?:[A-Za-z0-9+/=]{1,80}\\s?)++)",
        { "private-lines:" },
    },
    { "cron-env",
      REDACT_IN_LINE,
      "(?i)X-Cron-Env:[ \\t]{0,4}<[^=>\\n]{0,100}=(?<secret>[^>\\n]+)",
      { "x-cron-env" } },
    { "authorization",
      REDACT_IN_LINE,
      "(?i)authorization[\"']?[ \\t]{0,4}[:=][ \\t]{0,4}[\"']?(?|"
      "(?:bearer|basic|digest|token|apikey|negotiate|ntlm|aws4-hmac-sha256)[ \\t]{1,4}"
      "(?<secret>[^\"'\\n]+)|"
      "(?<secret>(?=[^\\s\"']*[0-9])[^\\s\"']{16,}))",
      { "authorization" } },
    { "authorization",
      REDACT_IN_LINE,
      "(?i)\\bbearer[ \\t]{1,4}(?<secret>(?=[^\\s\"']*[0-9])[a-z0-9._~+/-]{12,}=*)",
      { "bearer" } },
    { "cookie",
      REDACT_IN_LINE,
      "(?i)cookie2?[\"']?[ \\t]{0,4}:[ \\t]{0,4}[\"']?"
      "(?<secret>[^\\s=;\"']{1,200}=[^\\n\"']+)",
      { "cookie" } },
    { "url-credentials",
      REDACT_IN_LINE,
      "://[^\\s/@:\"'<>]{0,200}:(?<secret>[^\\s/\"'<>]+)@(?=[^\\s/@\"'<>])",
      { "://" } },
    { "token",
      REDACT_IN_LINE,
      "(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|"
      "gl(?:pat|rt|dt|cbt|ptt|soat|agent|ft)-[A-Za-z0-9_-]{16,}|"
      "xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|"
      "AIza[A-Za-z0-9_-]{35}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|"
      "sk-(?=[A-Za-z_-]*[0-9])[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36}|hv[sb]\\.[A-Za-z0-9_-]{20,}|"
      "dop_v1_[a-f0-9]{64}|"
      "eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{8,}(?:\\.[A-Za-z0-9_-]+)?)",
      { "gh", "gl", "xox", "xapp-", "akia", "asia", "aiza", "k_live_", "k_test_", "sk-", "npm_",
        "hvs.", "hvb.", "dop_v1_", "eyj" } },
    { "token",
      REDACT_IN_LINE,
      "(?i)(?|hooks\\.slack\\.com/services/(?<secret>[a-z0-9/]{10,})|"
      "X-Amz-(?:Signature|Security-Token|Credential)=(?<secret>[^\\s&\"'<>]+))",
      { "hooks.slack.com", "x-amz-" } },
    { "command-line",
      REDACT_IN_LINE,
      "(?i)(?<![^\\s\"'(`])--?(?:[a-z0-9]{1,20}-){0,3}"
      "(?:passw(?:or)?d|passphrase|pass|pwd|token|secret|api-?key|access-?key|secret-?key)"
      "[ \\t]{1,4}(?!-)(?|" DOUBLE_QUOTED "|" SINGLE_QUOTED "|[\"']?" BARE ")",
      { "-pass", "-pwd", "-token", "-secret", "-api", "-access" } },
    { "command-line",
      REDACT_IN_LINE,
      "(?|\\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mysqlcheck|mysqlshow|"
      "mariadb(?:-[a-z]{1,12})?)[ \\t](?:[^\\n|;]{0,200}?[ \\t])?-p(?<secret>[^\\s-]\\S*)|"
      "\\bsshpass[ \\t]{1,4}-p[ \\t]{0,4}(?<secret>\\S+)|"
      "\\bcurl[ \\t](?:[^\\n|;]{0,200}?[ \\t])?(?:-u|--user)[ \\t=]?[\"']?[^\\s:\"']{1,100}:"
      "(?<secret>[^\\s\"']+))",
      { "mysql", "mariadb", "sshpass", "curl" } },
    /* With an equals sign anywhere. */
    { "password", REDACT_IN_LINE,
      "(?i)" NAME "[\"']?[ \\t]{0,8}=(?!=)>?[ \\t]{0,8}(?|" DOUBLE_QUOTED "|" SINGLE_QUOTED
      "|[\"']?" BARE ")",
      NAME_NEEDLES },
    /* With a colon, behind a name in quotes. */
    { "password", REDACT_IN_LINE,
      "(?i)" NAME "[\"'][ \\t]{0,8}:[ \\t]{0,8}(?|" DOUBLE_QUOTED "|" SINGLE_QUOTED "|[\"']?" BARE
      ")",
      NAME_NEEDLES },
    /* In XML. */
    { "password", REDACT_IN_LINE,
      "(?i)<[\\w:.-]{0,40}?" NAME "(?:[ \\t][^<>\\n]{0,200})?>(?<secret>[^<\\n]+)</",
      NAME_NEEDLES },
    /* At the beginning of a line, where the value is all that comes. */
    { "password", REDACT_IN_LINE,
      "(?im)^[ \\t>*#|-]{0,8}(?:[\\w.-]{1,20} ){0,2}[\\w.-]{0,40}?" NAME
      "[ \\t]{0,8}:[ \\t]{0,8}(?|" DOUBLE_QUOTED "|" SINGLE_QUOTED "|" NO_WORD
      "(?<secret>[^\\s\"']\\S*+))[ \\t]*$",
      NAME_NEEDLES },
    /* The short name is a word of test results, too; they are no passwords. */
    { "password",
      REDACT_IN_LINE,
      "(?i)(?<![\\w.-])pass(?:[\"'][ \\t]{0,8}:[ \\t]{0,8}[\"']|=[\"']?)" NO_PLACEHOLDER
      "(?=[^\\s,;&\"'<>]{0,200}[0-9])(?=[^\\s,;&\"'<>]{0,200}[a-z])(?<secret>[^\\s,;&\"'<>]{6,})",
      { "pass" } },
    /* Elsewhere, where no word has letters and digits. */
    { "password", REDACT_IN_LINE,
      "(?i)" NAME "[ \\t]{0,4}:[ \\t]{0,4}" NO_WORD
      "(?=[^\\s,;]{0,200}[0-9])(?=[^\\s,;]{0,200}[a-z])(?<secret>[^\\s,;\"'<>]{6,})",
      NAME_NEEDLES },
    {},
};
