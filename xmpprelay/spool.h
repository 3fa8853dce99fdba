/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The durable store of records that no room has confirmed yet, and for a while (`keep`) of the
 * ids and fates of those that were.
 *
 * A record has one entry for each of its destinations. An entry has a number (`seq`, rising in
 * the order of acceptance), a stanza id of 128 random bits that stays the same over all attempts,
 * and a state. All changes happen between spool_begin() and spool_commit(); a commit is on disk
 * when it returns. The counts are kept in memory and always agree with the last commit plus the
 * transaction that is open.
 *
 * Once a change has failed for want of disk, nothing more of that transaction can succeed:
 * everything after it fails at once and so does the commit, which rolls back.
 */

#include "common/record.h"

#include <sys/types.h>

#define SPOOL_REASON_MAX 512
#define SPOOL_STANZA_ID_SIZE 33 /* 32 hexadecimal digits and the NUL */
#define SPOOL_TITLE_MAX 120     /* bytes kept of a record's title, for lists */

typedef struct Spool Spool;

typedef enum EntryState {
    ENTRY_QUEUED,
    ENTRY_SENT, /* posted at least once: of unknown fate when no session knows better */
    ENTRY_FAILED,
    ENTRY_DELIVERED,
    ENTRY_DROPPED, /* by the operator */
} EntryState;

typedef struct SpoolLimits {
    uint64_t max_records;   /* entries that wait; also how many failed ones are kept */
    uint64_t max_share;     /* percent of them for the records of one uid */
    uint64_t reserve_bytes; /* of the disk, that no record may take */
    usec_t keep_usec;
} SpoolLimits;

/* Opens the spool at `path`, or makes it if there is none, checks it for damage, brings an older
 * schema up to date and loads the counts. On failure `reason` is a sentence that says what is wrong
 * and what to do, and the file is as it was. -EBUSY: another relay has it; -EUCLEAN: damaged or
 * emptied; -ENOEXEC: something else than a spool; -EPROTONOSUPPORT: written by a newer version;
 * other -errno. */
int spool_open(const char *path, const SpoolLimits *limits, Spool **ret,
               char reason[static SPOOL_REASON_MAX]);
bool spool_was_made(const Spool *spool);
Spool *spool_free(Spool *spool); /* rolls back what is open */
DEFINE_CLEANUP(Spool *, spool_free)
void spool_set_limits(Spool *spool, const SpoolLimits *limits);

/* In a sentence, what the last failure was. */
const char *spool_message(const Spool *spool);

/* What of a disk records leave alone: the write-ahead log and its copy in the file. */
#define SPOOL_RESERVE_BYTES ((uint64_t)8 << 20)

int spool_begin(Spool *spool);
int spool_commit(Spool *spool); /* on failure all of the transaction is undone */
void spool_rollback(Spool *spool);

typedef enum SpoolInserted {
    SPOOL_INSERTED,
    SPOOL_DUPLICATE, /* a record with this id is there or in the kept history */
    SPOOL_FULL,      /* max_records */
    SPOOL_SHARE,     /* the uid has its share */
    SPOOL_DISK,      /* less than reserve_bytes are free on the disk */
    SPOOL_REMOVED,   /* the file is not in its place any more: what is written to it is lost when
                      * it is closed */
} SpoolInserted;

/* What every record would be told now: SPOOL_DISK, SPOOL_REMOVED; SPOOL_INSERTED: it may go in. */
SpoolInserted spool_disk_check(Spool *spool);

typedef struct SpoolRecord {
    const char *id;
    const char *json; /* as it came */
    const char *title;
    uid_t uid;
    usec_t accepted_usec; /* CLOCK_REALTIME */
    ReceiptWanted receipt;
    const char *const *destinations; /* names */
    size_t n_destinations;
} SpoolRecord;

/* All entries of the record or none; a SpoolInserted or -errno. A failure that is the record's
 * own leaves the transaction usable. */
int spool_insert(Spool *spool, const SpoolRecord *record);

/* What has become of a record with the change of one of its entries. */
typedef struct SpoolFate {
    char id[RECORD_ID_MAX + 1];
    ReceiptWanted receipt;
    usec_t accepted_usec;
    bool complete;  /* no entry of it is queued or sent any more… */
    bool delivered; /* …and each was delivered */
} SpoolFate;

/* One more attempt; queued → sent. */
int spool_mark_sent(Spool *spool, int64_t seq, usec_t now);
int spool_mark_suspicion(Spool *spool, int64_t seq, unsigned suspicion);

/* queued, sent → delivered or failed. 1 with *ret; 0 when the entry is not there or was not
 * waiting (nothing is changed then); -errno. */
int spool_mark_done(Spool *spool, int64_t seq, usec_t now, SpoolFate *ret);
int spool_mark_failed(Spool *spool, int64_t seq, usec_t now, const char *reason, SpoolFate *ret);

/* An entry as lists and loads give it; strings are valid during the visit only. */
typedef struct SpoolEntry {
    int64_t seq;
    const char *id;
    const char *destination;
    const char *stanza_id;
    const char *title;  /* or NULL */
    const char *reason; /* or NULL */
    EntryState state;
    unsigned attempts;
    unsigned suspicion;
    uid_t uid;
    usec_t accepted_usec;
    usec_t sent_usec; /* the first attempt; 0: none */
    usec_t done_usec; /* when it became failed, delivered or dropped; else 0 */
} SpoolEntry;

/* Returns 0 to go on, 1 to stop, -errno to stop and pass that on. It must not change the spool. */
typedef int (*SpoolVisit)(const SpoolEntry *entry, void *userdata);

/* The waiting entries of a destination past `after_seq`, lowest first. */
int spool_load(Spool *spool, const char *destination, int64_t after_seq, size_t max,
               SpoolVisit visit, void *userdata);

/* Waiting or failed entries, ordered by destination and seq, past ("", 0) or the place given. */
int spool_list(Spool *spool, bool failed, const char *after_destination, int64_t after_seq,
               size_t max, SpoolVisit visit, void *userdata);

/* Entries of a record, in any state. */
int spool_list_record(Spool *spool, const char *id, SpoolVisit visit, void *userdata);

/* Entries that are delivered or dropped, the latest first, past the place given by the last one
 * of the page before (0, 0: from the latest). */
int spool_list_history(Spool *spool, usec_t before_done_usec, int64_t before_seq, size_t max,
                       SpoolVisit visit, void *userdata);

/* The JSON of a waiting or failed entry's record; the caller frees it. -ENOENT. */
int spool_read_json(Spool *spool, int64_t seq, char **ret);

int spool_is_waiting(Spool *spool, int64_t seq); /* 0, 1, -errno */

/* failed → queued, at its old place and trusted anew; queued, sent, failed → dropped. 1: done,
 * 0: it is in no such state, -errno. */
int spool_retry(Spool *spool, int64_t seq);
int spool_drop(Spool *spool, int64_t seq, usec_t now);

/* Deletes at most `max` records that were done longer than `keep` ago or are too many: how many
 * were deleted, so that less than `max` means that nothing is left to do; or -errno. Failed
 * entries are never too old; past max_records of them the oldest are dropped,
 * *ret_failed_dropped of them. */
int spool_purge(Spool *spool, usec_t now, size_t max, size_t *ret_failed_dropped);

/* Waiting entries: of all, of one destination (by name), of one uid. */
uint64_t spool_n_waiting(const Spool *spool);
uint64_t spool_n_waiting_destination(const Spool *spool, const char *destination);
uint64_t spool_n_waiting_uid(const Spool *spool, uid_t uid);
uint64_t spool_n_failed(const Spool *spool);
uint64_t spool_n_failed_destination(const Spool *spool, const char *destination);

/* The names of destinations that have waiting entries, n of them; NULL past the end. */
const char *spool_waiting_destination(const Spool *spool, size_t index);

/* When the oldest waiting entry was accepted (CLOCK_REALTIME), and whose it is; 0: none waits. */
int spool_oldest(Spool *spool, usec_t *ret_usec, const char **ret_destination);
int spool_oldest_destination(Spool *spool, const char *destination, usec_t *ret_usec);

/* Destinations that the operator has paused; this too outlives the daemon. */
int spool_set_paused(Spool *spool, const char *destination, bool paused);
int spool_is_paused(Spool *spool, const char *destination); /* 0, 1, -errno */
