/* SPDX-License-Identifier: MIT */

/*
 * The link's packets: JSON objects that are written and read by the two tables of code below,
 * one writer and one reader for each type.
 *
 * Both sides are the same program, so the reader is strict: it knows every key, wants each of
 * them with its type and in its bounds, and takes nothing else. What it can't judge (whether an
 * index is one of this account's, whether an id was posted) is left to the caller.
 *
 * A LinkStorage holds what a received message points into: the parsed JSON, and the arrays and
 * the account that are built from it.
 */

#include "xmpprelay/link.h"

#include <sys/socket.h>

#include "common/json.h"
#include "common/text.h"

#define LINK_INDEX_MAX 65535
#define LINK_DESTINATIONS_MAX 4096
#define LINK_PENDING_MAX 1024
#define LINK_NAME_MAX 3071 /* a full JID, RFC 7622 */
#define LINK_PATH_MAX 4095
#define LINK_USEC_MAX ((int64_t)1 << 53)

struct LinkStorage {
    Json *json;
    Account account;
    LinkDestination *destinations;
    size_t n_destinations;
};

static const char *const type_names[] = {
    [LINK_START] = "start", [LINK_POST] = "post",     [LINK_QUIT] = "quit",
    [LINK_BEAT] = "beat",   [LINK_STREAM] = "stream", [LINK_ROOM] = "room",
    [LINK_DONE] = "done",   [LINK_FAILED] = "failed", [LINK_END] = "end",
};

LinkStorage *link_storage_free(LinkStorage *storage)
{
    if (!storage)
        return NULL;
    for (size_t i = 0; i < storage->n_destinations; i++)
        free(storage->destinations[i].pending);
    free(storage->destinations);
    json_free(storage->json);
    free(storage);
    return NULL;
}

/* Writing. */

static int set_usec(Json *object, const char *key, usec_t value)
{
    if (value > (usec_t)LINK_USEC_MAX)
        return -ERANGE;
    return json_set_integer(object, key, (int64_t)value);
}

/* A reason is for people: one that is too long is cut. Servers have their part in it, and so do
 * buffers that end in the middle of a character: no such thing may make a packet impossible. */
static int set_reason(Json *object, const char *reason)
{
    _cleanup_free_ char *line = NULL;

    if (!reason)
        return 0;
    line = text_clean_line_dup(reason, strlen(reason));
    if (!line)
        return -ENOMEM;
    line[text_cut(line, strlen(line), LINK_REASON_MAX)] = '\0';
    return json_set_string(object, "reason", line);
}

static int write_account(Json *object, const Account *account)
{
    _cleanup_json_ Json *value = json_object_new();
    int r;

    if ((r = json_set_string(value, "name", account->name)) < 0 ||
        (r = json_set_string(value, "jid", account->jid)) < 0 ||
        (r = json_set_string(value, "password_file", account->password_file)) < 0 ||
        (r = json_set_string(value, "credential", account->credential)) < 0 ||
        (r = json_set_string(value, "host", account->host)) < 0 ||
        (r = json_set_integer(value, "port", account->port)) < 0 ||
        (r = json_set_integer(value, "tls", account->tls)) < 0 ||
        (r = json_set_string(value, "ca_file", account->ca_file)) < 0)
        return r;
    return json_set_consume(object, "account", steal_ptr(value));
}

static int write_destination(Json *array, const LinkDestination *destination)
{
    _cleanup_json_ Json *value = json_object_new();
    _cleanup_json_ Json *pending = json_array_new();
    int r;

    for (size_t i = 0; i < destination->n_pending; i++) {
        r = json_add_string(pending, destination->pending[i]);
        if (r < 0)
            return r;
    }
    if ((r = json_set_integer(value, "index", (int64_t)destination->index)) < 0 ||
        (r = json_set_string(value, "name", destination->name)) < 0 ||
        (r = json_set_string(value, "room", destination->room)) < 0 ||
        (r = json_set_string(value, "nick", destination->nick)) < 0 ||
        (r = json_set_string(value, "contact", destination->contact)) < 0 ||
        (r = set_usec(value, "since", destination->since_usec)) < 0 ||
        (r = json_set_consume(value, "pending", steal_ptr(pending))) < 0)
        return r;
    return json_add_consume(array, steal_ptr(value));
}

static int write_start(Json *object, const LinkMessage *message)
{
    _cleanup_json_ Json *destinations = json_array_new();
    int r;

    r = write_account(object, message->account);
    for (size_t i = 0; r >= 0 && i < message->n_destinations; i++)
        r = write_destination(destinations, &message->destinations[i]);
    if (r < 0 || (r = set_usec(object, "ping", message->ping_usec)) < 0 ||
        (r = set_usec(object, "self_ping", message->self_ping_usec)) < 0 ||
        (r = set_usec(object, "confirm", message->confirm_usec)) < 0)
        return r;
    return json_set_consume(object, "destinations", steal_ptr(destinations));
}

static int write_body(Json *object, const LinkMessage *message)
{
    int r;

    switch (message->type) {
    case LINK_QUIT:
    case LINK_BEAT:
        return 0;
    case LINK_START:
        return write_start(object, message);
    case LINK_STREAM:
        r = json_set_integer(object, "state", message->stream_state);
        return r < 0 ? r : set_reason(object, message->reason);
    case LINK_END:
        r = json_set_integer(object, "cause", message->end_cause);
        return r < 0 ? r : set_reason(object, message->reason);
    case LINK_ROOM:
        if ((r = json_set_integer(object, "state", message->room_state)) < 0 ||
            (r = json_set_string(object, "nick", message->nick)) < 0 ||
            (r = set_reason(object, message->reason)) < 0)
            return r;
        break;
    case LINK_POST:
        if ((r = json_set_string(object, "id", message->stanza_id)) < 0 ||
            (r = json_set_string(object, "body", message->body)) < 0 ||
            (r = json_set_bool(object, "unstyled", message->unstyled)) < 0 ||
            (r = set_usec(object, "delay", message->delay_usec)) < 0)
            return r;
        break;
    case LINK_DONE:
        r = json_set_string(object, "id", message->stanza_id);
        if (r < 0)
            return r;
        break;
    case LINK_FAILED:
        if ((r = json_set_string(object, "id", message->stanza_id)) < 0 ||
            (r = json_set_integer(object, "kind", message->failed_kind)) < 0 ||
            (r = set_reason(object, message->reason)) < 0)
            return r;
        break;
    }
    return json_set_integer(object, "destination", (int64_t)message->destination);
}

int link_send(int fd, const LinkMessage *message)
{
    _cleanup_json_ Json *object = json_object_new();
    _cleanup_free_ char *text = NULL;
    size_t size;
    int r;

    r = json_set_string(object, "type", type_names[message->type]);
    if (r >= 0)
        r = write_body(object, message);
    if (r < 0)
        return r;
    text = json_dump_dup(object, false, &size);
    if (!text)
        return -ENOMEM;
    if (size > LINK_PACKET_MAX)
        return -EMSGSIZE;

    for (;;) {
        if (send(fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        if (errno != EINTR)
            return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
}

/* Reading. A Reader counts the keys it was asked for and found, so that what was not asked for
 * is noticed; the first thing wrong makes it stay wrong. */

typedef struct Reader {
    const Json *object;
    size_t n_found;
    bool bad;
} Reader;

static Reader reader_new(const Json *object)
{
    return (Reader){ .object = object, .bad = !object || json_type(object) != JSON_IS_OBJECT };
}

static bool reader_is_good(const Reader *reader)
{
    return !reader->bad && reader->n_found == json_length(reader->object);
}

static const Json *read_key(Reader *reader, const char *key, JsonType type, bool required)
{
    const Json *value = reader->bad ? NULL : json_get(reader->object, key);

    if (!value) {
        reader->bad |= required;
        return NULL;
    }
    reader->n_found++;
    if (json_type(value) != type) {
        reader->bad = true;
        return NULL;
    }
    return value;
}

static const char *read_string(Reader *reader, const char *key, size_t max, bool required)
{
    const Json *value = read_key(reader, key, JSON_IS_STRING, required);
    const char *string = value ? json_as_string(value, NULL) : NULL;

    if (string && strlen(string) > max) {
        reader->bad = true;
        return NULL;
    }
    return string;
}

static int64_t read_integer(Reader *reader, const char *key, int64_t max)
{
    const Json *value = read_key(reader, key, JSON_IS_INTEGER, true);
    int64_t integer = value ? json_as_integer(value, 0) : 0;

    if (integer < 0 || integer > max) {
        reader->bad = true;
        return 0;
    }
    return integer;
}

static bool id_is_valid(const char *id)
{
    size_t length = strlen(id);

    if (length == 0 || length > LINK_ID_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = id[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '.' && c != '_' && c != ':' && c != '-')
            return false;
    }
    return true;
}

static const char *read_id(Reader *reader)
{
    const char *id = read_string(reader, "id", LINK_ID_MAX, true);

    if (id && !id_is_valid(id)) {
        reader->bad = true;
        return NULL;
    }
    return id;
}

static bool read_account(const Json *value, Account *ret)
{
    Reader reader = reader_new(value);

    /* The strings are the JSON's: nobody frees or changes them through the Account. */
    *ret = (Account){
        .name = (char *)read_string(&reader, "name", LINK_NAME_MAX, true),
        .jid = (char *)read_string(&reader, "jid", LINK_NAME_MAX, true),
        .password_file = (char *)read_string(&reader, "password_file", LINK_PATH_MAX, false),
        .credential = (char *)read_string(&reader, "credential", LINK_PATH_MAX, false),
        .host = (char *)read_string(&reader, "host", LINK_NAME_MAX, true),
        .port = read_integer(&reader, "port", 65535),
        .tls = (int)read_integer(&reader, "tls", TLS_INSECURE_NONE),
        .ca_file = (char *)read_string(&reader, "ca_file", LINK_PATH_MAX, true),
    };
    return reader_is_good(&reader);
}

static int read_destination(const Json *value, LinkDestination *ret)
{
    Reader reader = reader_new(value);
    const Json *pending;
    size_t n;

    *ret = (LinkDestination){
        .index = (size_t)read_integer(&reader, "index", LINK_INDEX_MAX),
        .name = read_string(&reader, "name", LINK_NAME_MAX, true),
        .room = read_string(&reader, "room", LINK_NAME_MAX, false),
        .nick = read_string(&reader, "nick", LINK_NAME_MAX, false),
        .contact = read_string(&reader, "contact", LINK_NAME_MAX, false),
        .since_usec = (usec_t)read_integer(&reader, "since", LINK_USEC_MAX),
    };
    pending = read_key(&reader, "pending", JSON_IS_ARRAY, true);
    if (!reader_is_good(&reader) || !pending || !ret->room == !ret->contact ||
        (ret->room && !ret->nick))
        return -EBADMSG;

    n = json_length(pending);
    if (n > LINK_PENDING_MAX)
        return -EBADMSG;
    if (n == 0)
        return 0;
    ret->pending = calloc(n, sizeof(*ret->pending));
    if (!ret->pending)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        const char *id = json_as_string(json_at(pending, i), NULL);

        if (!id || !id_is_valid(id))
            return -EBADMSG;
        ret->pending[i] = id;
    }
    ret->n_pending = n;
    return 0;
}

static int read_start(Reader *reader, LinkMessage *message, LinkStorage *storage)
{
    const Json *account = read_key(reader, "account", JSON_IS_OBJECT, true);
    const Json *destinations = read_key(reader, "destinations", JSON_IS_ARRAY, true);
    size_t n = destinations ? json_length(destinations) : 0;

    message->ping_usec = (usec_t)read_integer(reader, "ping", LINK_USEC_MAX);
    message->self_ping_usec = (usec_t)read_integer(reader, "self_ping", LINK_USEC_MAX);
    message->confirm_usec = (usec_t)read_integer(reader, "confirm", LINK_USEC_MAX);
    if (!account || !destinations || n > LINK_DESTINATIONS_MAX ||
        !read_account(account, &storage->account))
        return -EBADMSG;

    storage->destinations = calloc(MAX(n, (size_t)1), sizeof(*storage->destinations));
    if (!storage->destinations)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        int r;

        /* Counted before it is read, so that what a failed one holds is freed too. */
        storage->n_destinations++;
        r = read_destination(json_at(destinations, i), &storage->destinations[i]);
        if (r < 0)
            return r;
    }
    message->account = &storage->account;
    message->destinations = storage->destinations;
    message->n_destinations = n;
    return 0;
}

static int read_body(Reader *reader, LinkMessage *message, LinkStorage *storage)
{
    switch (message->type) {
    case LINK_QUIT:
    case LINK_BEAT:
        return 0;
    case LINK_START:
        return read_start(reader, message, storage);
    case LINK_STREAM:
        message->stream_state = (StreamState)read_integer(reader, "state", STREAM_ONLINE);
        message->reason = read_string(reader, "reason", LINK_REASON_MAX, false);
        return 0;
    case LINK_END:
        message->end_cause = (EndCause)read_integer(reader, "cause", END_QUIT);
        message->reason = read_string(reader, "reason", LINK_REASON_MAX, false);
        return 0;
    case LINK_ROOM:
        message->room_state = (RoomState)read_integer(reader, "state", ROOM_READY);
        message->nick = read_string(reader, "nick", LINK_NAME_MAX, false);
        message->reason = read_string(reader, "reason", LINK_REASON_MAX, false);
        break;
    case LINK_POST:
        message->stanza_id = read_id(reader);
        message->body = read_string(reader, "body", LINK_PACKET_MAX, true);
        message->unstyled = json_as_bool(read_key(reader, "unstyled", JSON_IS_BOOL, true), false);
        message->delay_usec = (usec_t)read_integer(reader, "delay", LINK_USEC_MAX);
        break;
    case LINK_DONE:
        message->stanza_id = read_id(reader);
        break;
    case LINK_FAILED:
        message->stanza_id = read_id(reader);
        message->failed_kind = (FailedKind)read_integer(reader, "kind", FAILED_FINAL);
        message->reason = read_string(reader, "reason", LINK_REASON_MAX, false);
        break;
    }
    message->destination = (size_t)read_integer(reader, "destination", LINK_INDEX_MAX);
    return 0;
}

static int parse(const char *text, size_t size, LinkMessage *ret, LinkStorage *storage)
{
    char reason[JSON_REASON_MAX];
    LinkMessage message = {};
    const char *type;
    Reader reader;
    size_t i;
    int r;

    r = json_parse(text, size, &storage->json, reason);
    if (r < 0)
        return r;
    reader = reader_new(storage->json);
    type = read_string(&reader, "type", 16, true);
    if (!type)
        return -EBADMSG;
    for (i = 0; i < ELEMENTSOF(type_names) && !streq(type, type_names[i]); i++)
        ;
    if (i == ELEMENTSOF(type_names))
        return -EBADMSG;
    message.type = (LinkType)i;

    r = read_body(&reader, &message, storage);
    if (r < 0)
        return r;
    if (!reader_is_good(&reader))
        return -EBADMSG;
    *ret = message;
    return 0;
}

int link_receive(int fd, LinkMessage *ret, LinkStorage **ret_storage)
{
    _cleanup_(link_storage_freep) LinkStorage *storage = NULL;
    _cleanup_free_ char *buffer = malloc(LINK_PACKET_MAX + 1);
    ssize_t size;
    int r;

    storage = calloc(1, sizeof(*storage));
    if (!buffer || !storage)
        return -ENOMEM;
    do
        size = recv(fd, buffer, LINK_PACKET_MAX + 1, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return errno == ECONNRESET ? -EPIPE : errno == EWOULDBLOCK ? -EAGAIN : -errno;
    if (size == 0)
        return -EPIPE;
    if (size > LINK_PACKET_MAX)
        return -EBADMSG;

    r = parse(buffer, (size_t)size, ret, storage);
    if (r < 0)
        return r;
    *ret_storage = steal_ptr(storage);
    return 0;
}
