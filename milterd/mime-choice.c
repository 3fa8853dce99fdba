/* SPDX-License-Identifier: MIT */

/*
 * multipart/alternative: of several forms of one text the one that reads best in a chat. Each is
 * read into a buffer of its own, and only as long as it may be better than the best so far.
 */

#include "milterd/mime-internal.h"
#include "milterd/mime.h"
#include "milterd/plain.h"

/* How good a part of multipart/alternative is, apart from whether it has text. 1 is a stub. */
static unsigned rank(const MimePart *part)
{
    if (mime_part_is(part, "text", "plain"))
        return 4;
    return mime_part_is(part, "text", "html") || mime_part_is(part, "multipart", NULL) ? 3 : 2;
}

/* Whether a text that was read is better than the best one. */
static bool is_better(const Choice *choice, const Buffer *text, unsigned *inout_rank)
{
    const char *best = choice->best.data ? choice->best.data : "",
               *new = text->data ? text->data : "";

    /* A plain text is worth what it says in comparison with the HTML, in whatever order they come.
     */
    if (*inout_rank == 4 && choice->best_rank == 3 && plain_is_stub(new, best))
        *inout_rank = 1;
    if (*inout_rank == 3 && choice->best_rank == 4)
        return plain_is_stub(best, new);
    return *inout_rank > choice->best_rank || (choice->best_rank == 0 && !choice->best.data);
}

/* What some programs put into the HTML alternative are not only pictures. */
static int name_files(Walk *walk, const MimePart *part, Range content, unsigned depth,
                      Choice *choice)
{
    bool before = walk->names_only;
    int r;

    if (!mime_part_is(part, "multipart", NULL)) {
        mime_note(walk, part, content, depth, FATE_ALTERNATIVE);
        return 0;
    }
    walk->names_only = true;
    choice->names.max = MIME_TEXT_MAX;
    r = mime_walk_part(walk, part, content, depth, &choice->names);
    walk->names_only = before;
    return r < 0 || choice->names.failed ? -ENOMEM : 0;
}

int mime_choose(Walk *walk, const MimePart *part, Range content, unsigned depth, size_t max,
                Choice *choice)
{
    _cleanup_(buffer_done) Buffer text = { .max = max };
    unsigned text_rank = rank(part);
    size_t begin = mime_nodes(walk);
    bool shown = walk->shown;
    int r;

    /* Text after good text is not read at all; rank 0 is what shows no text of its own. */
    if (text_rank <= choice->best_rank &&
        !(text_rank == 3 && choice->best_rank == 4 && plain_may_be_stub(choice->best.data)))
        return name_files(walk, part, content, depth, choice);
    walk->shown = false;
    r = mime_walk_part(walk, part, content, depth, &text);
    text_rank = walk->shown ? text_rank : 0;
    walk->shown = walk->shown || shown;
    if (r < 0 || text.failed)
        return -ENOMEM;
    if (!is_better(choice, &text, &text_rank)) {
        mime_tree_set_all(walk->tree, begin, mime_nodes(walk),
                          text_rank == 1 ? FATE_STUB : FATE_ALTERNATIVE);
        return 0;
    }
    if (choice->best.data)
        mime_tree_set_all(walk->tree, choice->best_begin, choice->best_end,
                          choice->best_rank == 4 ? FATE_STUB : FATE_ALTERNATIVE);
    choice->best_rank = text_rank;
    choice->best_begin = begin;
    choice->best_end = mime_nodes(walk);
    buffer_done(&choice->best);
    choice->best = text;
    text = (Buffer){};
    return 0;
}
