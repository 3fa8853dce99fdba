/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Records and receipts on the datagram socket, version 1: what xmpprelay-protocol(7) describes.
 *
 * A datagram holds one or more frames: a 4-byte big-endian length and so many bytes of JSON.
 */

#include "common/util.h"

#define RECORD_VERSION 1
#define RECORD_FRAME_MAX 65536     /* bytes of JSON in one frame */
#define RECORD_DATAGRAM_MAX 131072 /* bytes in one datagram, lengths included */
#define RECORD_ID_MAX 64
#define RECORD_KEY_MAX 256
#define RECORD_SOURCE_MAX 64
#define RECORD_TO_MAX 32 /* destinations */
#define RECORD_FIELDS_MAX 64
#define RECORD_FACTS_MAX 16
#define RECORD_NAME_MAX 128            /* bytes in the name of a destination or a field */
#define RECORD_TIME_LIMIT 100000000000 /* seconds since the epoch, this one excluded */
#define RECORD_REASON_MAX 256

typedef enum Severity {
    SEVERITY_NONE,
    SEVERITY_OK,
    SEVERITY_INFO,
    SEVERITY_WARNING,
    SEVERITY_CRITICAL,
} Severity;

typedef enum AlertState {
    STATE_NONE,
    STATE_PROBLEM,
    STATE_RECOVERY,
    STATE_EVENT,
} AlertState;

typedef enum ReceiptStatus {
    RECEIPT_ACCEPTED,
    RECEIPT_DUPLICATE,
    RECEIPT_DELIVERED,
    RECEIPT_BUSY,
    RECEIPT_REFUSED,
} ReceiptStatus;

/* The last receipt that the sender waits for. */
typedef enum ReceiptWanted {
    RECEIPT_WANTED_ACCEPTED,
    RECEIPT_WANTED_DELIVERED,
    RECEIPT_WANTED_NONE,
} ReceiptWanted;

typedef struct RecordField {
    char *name;
    char *value;
} RecordField;

/* All strings belong to the record; NULL where a key is absent. */
typedef struct Record {
    char *id;
    char *title;
    char *text; /* never NULL or empty in a valid record */
    char **to;  /* n_to names, no two the same */
    size_t n_to;
    Severity severity;
    AlertState state;
    char *key;
    usec_t time_usec; /* since the epoch; 0: absent */
    char *source;
    RecordField *fields; /* in the order of the wire */
    size_t n_fields;
    char **facts; /* n_facts names, no two the same; a field of that name need not be there */
    size_t n_facts;
    ReceiptWanted receipt;
} Record;

typedef struct Receipt {
    char id[RECORD_ID_MAX + 1]; /* "" where the record had none that could be read */
    ReceiptStatus status;
    char reason[RECORD_REASON_MAX];
} Receipt;

Record *record_new(void);
Record *record_free(Record *record);
DEFINE_CLEANUP(Record *, record_free)
#define _cleanup_record_ _cleanup_(record_freep)

/* Set a member, replacing what was there; the value is copied (NULL unsets). -ENOMEM. A name
 * that is in `to` or `facts` already is not added again; a field of the same name gets the new
 * value. */
int record_set(char **member, const char *value);
int record_add_to(Record *record, const char *name);
int record_add_field(Record *record, const char *name, const char *value);
int record_add_fact(Record *record, const char *name);
const char *record_field(const Record *record, const char *name); /* NULL: none */

bool record_id_is_valid(const char *id); /* 1–64 of A-Za-z0-9._:- */

/* Reads one frame's JSON. 0, or -ENOMEM, or -EBADMSG with a `reason` that names the key and
 * what is allowed. `ret_id`, set in every case, is the record's id as far as it could be read
 * ("" if not), for the receipt. Strings are taken as they are: clean them before showing them. */
int record_parse(const char *json, size_t size, Record **ret, char ret_id[static RECORD_ID_MAX + 1],
                 char reason[static RECORD_REASON_MAX]);

/* The JSON of a record without the frame's length, NUL-terminated; the caller frees it.
 * -EMSGSIZE if it is larger than a frame may be, -EINVAL for what record_parse() would refuse
 * (text that is missing or no UTF-8, an id of other characters, a limit that is passed). */
int record_write(const Record *record, char **ret_json, size_t *ret_size);

/* The same for receipts. A reason that is too long is cut, one that is not clean is cleaned. */
int receipt_parse(const char *json, size_t size, Receipt *ret,
                  char reason[static RECORD_REASON_MAX]);
int receipt_write(const Receipt *receipt, char **ret_json, size_t *ret_size);

/* Takes the next frame at *offset out of a datagram: 1 with its JSON and *offset advanced, 0 at
 * the very end, -EBADMSG with `reason` when the rest is no whole frame of 1 to RECORD_FRAME_MAX
 * bytes, or the datagram is empty or larger than it may be. */
int frame_next(const uint8_t *datagram, size_t size, size_t *offset, const char **ret_json,
               size_t *ret_size, char reason[static RECORD_REASON_MAX]);

/* Writes the 4 bytes of a frame's length. */
void frame_put_length(uint8_t buffer[static 4], size_t size);

/* Names as they stand on the wire; from_name gives -EINVAL for any other. */
const char *severity_name(Severity severity); /* NULL for NONE */
int severity_from_name(const char *name, Severity *ret);
const char *alert_state_name(AlertState state);
int alert_state_from_name(const char *name, AlertState *ret);
const char *receipt_status_name(ReceiptStatus status);
const char *receipt_wanted_name(ReceiptWanted wanted);
int receipt_wanted_from_name(const char *name, ReceiptWanted *ret);
