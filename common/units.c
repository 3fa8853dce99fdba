/* SPDX-License-Identifier: MIT */

/*
 * A number and a unit, from a table: the largest unit stands first, so that formatting takes
 * the first one that divides the value. All values stay below 2^53, exact in JSON too.
 */

#include "common/units.h"

#include <inttypes.h>
#include <stdio.h>

#define VALUE_MAX ((uint64_t)1 << 53)

typedef struct Unit {
    const char *name;
    uint64_t factor;
} Unit;

#define MIN_USEC (60 * USEC_PER_SEC)
#define HOUR_USEC (60 * MIN_USEC)
#define DAY_USEC (24 * HOUR_USEC)

static const Unit duration_units[] = {
    { "d", DAY_USEC },     { "h", HOUR_USEC },      { "m", MIN_USEC },
    { "s", USEC_PER_SEC }, { "ms", USEC_PER_MSEC }, {},
};

static const Unit size_units[] = {
    { "G", (uint64_t)1 << 30 },
    { "M", (uint64_t)1 << 20 },
    { "K", (uint64_t)1 << 10 },
    { "", 1 },
    {},
};

static int parse(const char *text, const Unit *units, uint64_t *ret)
{
    const Unit *unit = units;
    uint64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++)
        /* Once too large it stays so, however many digits follow. */
        number = number > VALUE_MAX ? number : number * 10 + (uint64_t)(*at - '0');
    if (at == text)
        return -EINVAL;

    while (unit->name && !streq(unit->name, at))
        unit++;
    if (!unit->name) {
        if (*at || number > 0)
            return -EINVAL;
        *ret = 0;
        return 0;
    }
    if (number > VALUE_MAX / unit->factor)
        return -ERANGE;
    *ret = number * unit->factor;
    return 0;
}

static const char *format(uint64_t value, const Unit *units, char buffer[static UNITS_TEXT_MAX])
{
    const Unit *unit = units;

    while (unit[1].name && value % unit->factor)
        unit++;
    if (value == 0)
        snprintf(buffer, UNITS_TEXT_MAX, "0");
    else
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 "%s", value / unit->factor, unit->name);
    return buffer;
}

/* To the nearest, without the overflow that adding half a unit first would bring. */
static uint64_t divide_round(uint64_t value, uint64_t unit)
{
    return value / unit + (value % unit >= unit - unit / 2 ? 1 : 0);
}

int duration_parse(const char *text, usec_t *ret_usec)
{
    return parse(text, duration_units, ret_usec);
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
    return parse(text, size_units, ret_bytes);
}

const char *duration_format(usec_t usec, char buffer[static UNITS_TEXT_MAX])
{
    return format(divide_round(usec, USEC_PER_MSEC) * USEC_PER_MSEC, duration_units, buffer);
}

const char *size_format(uint64_t bytes, char buffer[static UNITS_TEXT_MAX])
{
    return format(bytes, size_units, buffer);
}

const char *duration_human(usec_t usec, char buffer[static UNITS_TEXT_MAX])
{
    uint64_t msec = divide_round(usec, USEC_PER_MSEC), tenths = divide_round(usec, 100000),
             seconds = divide_round(usec, USEC_PER_SEC), minutes = divide_round(usec, MIN_USEC),
             hours = divide_round(usec, HOUR_USEC);

    /* Each rounded before it is compared: 59.97 s is "1 min" and never "60 s". */
    if (msec < 1000)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " ms", msec);
    else if (tenths < 100 && tenths % 10)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 ".%" PRIu64 " s", tenths / 10, tenths % 10);
    else if (seconds < 60)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " s", seconds);
    else if (minutes < 60)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " min", minutes);
    else if (minutes < UINT64_C(24) * 60 && minutes % 60)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " h %" PRIu64 " min", minutes / 60,
                 minutes % 60);
    else if (hours < 24)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " h", hours);
    else if (hours % 24)
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " d %" PRIu64 " h", hours / 24, hours % 24);
    else
        snprintf(buffer, UNITS_TEXT_MAX, "%" PRIu64 " d", hours / 24);
    return buffer;
}
