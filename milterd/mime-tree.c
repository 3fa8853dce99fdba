/* SPDX-License-Identifier: MIT */

/*
 * The parts in the order in which the walk came to them. What becomes of a part may turn out
 * later, when a better alternative comes, so lines are written at the end.
 */

#include "milterd/mime-tree.h"

#include <stdio.h>

#include "common/text.h"

#define NAME_MAX_BYTES 200

/* "text/plain, charset utf-8, base64, 12 KB" */
static char *describe_dup(const MimePart *part, size_t size, bool leaf)
{
    _cleanup_free_ char *text = NULL;
    char shown[MIME_SIZE_TEXT_MAX + 1];
    const char *encoding = mime_part_encoding(part);
    const char *charset = part->charset ? part->charset : "";
    const char *name = part->name ? part->name : "";

    mime_size_text(size, shown);
    if (asprintf(&text, "%s/%s%s%.*s%s%s%s%s%.*s%s%s%s", part->type, part->subtype,
                 *charset ? ", charset " : "", (int)strnlen(charset, NAME_MAX_BYTES), charset,
                 *encoding ? ", " : "", encoding, part->attachment ? ", attachment" : "",
                 *name ? ", \"" : "", (int)text_cut(name, strlen(name), NAME_MAX_BYTES), name,
                 *name ? "\"" : "", leaf ? ", " : "", leaf ? shown : "") < 0) {
        text = NULL;
        return NULL;
    }
    return text_clean_line_dup(text, strlen(text));
}

size_t mime_tree_add(MimeTree *tree, const MimePart *part, size_t size, unsigned depth,
                     const char *fate)
{
    MimeNode node = { .depth = depth, .fate = fate };

    if (!tree || tree->n >= ELEMENTSOF(tree->nodes)) {
        if (tree)
            tree->more = true;
        return MIME_TREE_NODES_MAX;
    }
    node.part = describe_dup(part, size, fate);
    if (!node.part)
        tree->failed = true;
    tree->nodes[tree->n] = node;
    return tree->n++;
}

void mime_tree_set(MimeTree *tree, size_t node, const char *fate)
{
    if (tree && node < tree->n)
        tree->nodes[node].fate = fate;
}

void mime_tree_set_all(MimeTree *tree, size_t begin, size_t end, const char *fate)
{
    for (size_t i = begin; tree && i < MIN(end, tree->n); i++)
        if (tree->nodes[i].fate)
            tree->nodes[i].fate = fate;
}

int mime_tree_write(const MimeTree *tree, char **ret)
{
    _cleanup_free_ char *text = NULL;
    size_t size;
    FILE *stream;

    if (tree->failed)
        return -ENOMEM;
    stream = open_memstream(&text, &size);
    if (!stream)
        return -ENOMEM;
    for (size_t i = 0; i < tree->n; i++) {
        const MimeNode *node = &tree->nodes[i];

        fprintf(stream, "%s%*s%s%s%s", i > 0 ? "\n" : "", (int)(2 * node->depth), "", node->part,
                node->fate ? ": " : "", node->fate ? node->fate : "");
    }
    if (tree->more)
        fputs("\n(more parts than are told)", stream);
    if (fclose(stream) != 0)
        return -ENOMEM;
    *ret = steal_ptr(text);
    return 0;
}

void mime_tree_done(MimeTree *tree)
{
    for (size_t i = 0; i < tree->n; i++)
        free(tree->nodes[i].part);
    *tree = (MimeTree){};
}
