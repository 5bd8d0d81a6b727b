/* quant/journal.h: finished tensors of a run under way, so that a killed one goes on where it was.
 *
 * A file beside the output, "<out>.journal": a head with the hash of the job, then an entry for each
 * finished tensor in the order of the work: its name, the hash of the weights it was made from, numbers for
 * the report, its bytes, and a checksum. Its statistics follow from the job (recipe, text, version), the weights, and the entries
 * before, so they have no hash of their own. The first entry that is cut off or damaged ends the journal, the
 * rest is done again. A journal of another job is not used and replaced.
 */
#ifndef NB_QUANT_JOURNAL_H
#define NB_QUANT_JOURNAL_H

#include "base/base.h"

#define NB_JOURNAL_NUMBERS 21

struct nb_journal_entry {
    const char *name;     /* of the tensor; lives as long as the journal */
    struct nb_hash input; /* of the weights it was made from           */
    double number[NB_JOURNAL_NUMBERS];
    uint64_t offset, bytes; /* of the payload */
};

struct nb_journal;

/* *reused: entries of an earlier run that are valid. */
NB_CHECKED enum nb_status nb_journal_open(struct nb_journal **out, const char *path,
                                          struct nb_hash job, const struct nb_allocator *a,
                                          size_t *reused, struct nb_error *err);
size_t nb_journal_count(const struct nb_journal *j);     /* of entries */
const char *nb_journal_path(const struct nb_journal *j); /* lives as long as it is open */
/* NULL: it is not there. Valid until the next nb_journal_add or nb_journal_cut. */
const struct nb_journal_entry *nb_journal_find(const struct nb_journal *j, const char *name);
/* Bytes [at, at + n) of an entry's payload. Thread-safe while nothing is added. */
NB_CHECKED enum nb_status nb_journal_read(const struct nb_journal *j,
                                          const struct nb_journal_entry *e, uint64_t at, void *dst,
                                          size_t n, struct nb_error *err);
/* Appends and syncs; e->offset and e->bytes are filled by the journal. NB_ERR_EXISTS: it has the name. */
NB_CHECKED enum nb_status nb_journal_add(struct nb_journal *j, const struct nb_journal_entry *e,
                                         const void *payload, uint64_t bytes, struct nb_error *err);
/* Forgets this entry and all later ones: what they were made from has changed. */
NB_CHECKED enum nb_status nb_journal_cut(struct nb_journal *j, const struct nb_journal_entry *e,
                                         struct nb_error *err);
/* The file stays, for another run; NULL does nothing. */
void nb_journal_close(struct nb_journal *j);
/* The output is complete: removes the file, and closes. */
void nb_journal_finish(struct nb_journal *j);

#endif
