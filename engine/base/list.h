/* SPDX-License-Identifier: Apache-2.0 */
/* engine/base/list.h: intrusive doubly linked list; a list never owns its members. */
#ifndef TS_BASE_LIST_H
#define TS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "engine/base/assert.h"

struct list_link {
	struct list_link *next, *prev;
};

struct list {
	struct list_link head;
};

static inline void list_init(struct list *l)
{
	l->head.next = l->head.prev = &l->head;
}

static inline bool list_empty(const struct list *l)
{
	return l->head.next == &l->head;
}

/* A link that is in no list; list_linked is false for it. */
static inline void list_link_init(struct list_link *n)
{
	n->next = n->prev = NULL;
}

static inline bool list_linked(const struct list_link *n)
{
	return n->next != NULL;
}

static inline void list_insert_between_(struct list_link *n, struct list_link *p,
					struct list_link *x)
{
	assert(n->next == NULL);
	n->prev = p;
	n->next = x;
	p->next = n;
	x->prev = n;
}

static inline void list_push_back(struct list *l, struct list_link *n)
{
	list_insert_between_(n, l->head.prev, &l->head);
}

static inline void list_push_front(struct list *l, struct list_link *n)
{
	list_insert_between_(n, &l->head, l->head.next);
}

static inline void list_remove(struct list_link *n)
{
	assert(n->next != NULL);
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = NULL;
}

static inline struct list_link *list_first(const struct list *l)
{
	return list_empty(l) ? NULL : l->head.next;
}

static inline struct list_link *list_last(const struct list *l)
{
	return list_empty(l) ? NULL : l->head.prev;
}

static inline struct list_link *list_next(const struct list *l, const struct list_link *n)
{
	return n->next == &l->head ? NULL : n->next;
}

static inline struct list_link *list_pop_front(struct list *l)
{
	struct list_link *n = list_first(l);

	if (n != NULL)
		list_remove(n);
	return n;
}

/* for (n = list_first(l); n; n = list_next(l, n)); to remove while walking take the next first. */
#define LIST_FOR_EACH(n, l) \
	for (struct list_link *n = list_first(l); n != NULL; n = list_next(l, n))
#define LIST_FOR_EACH_SAFE(n, l)                                                           \
	for (struct list_link *n = list_first(l), *n##_next_ = n ? list_next(l, n) : NULL; \
	     n != NULL; n = n##_next_, n##_next_ = n ? list_next(l, n) : NULL)

#endif
