/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/base/heap.h"

#include <stdbool.h>

#include "tests/unit/base/base_test.h"

#define ITEMS 300

struct item {
	uint64_t key, order;
	uint32_t index;
};

/* A small generator of its own: the test must be the same everywhere. */
static uint32_t draw(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

START_TEST(heap_of_nothing_is_empty)
{
	struct heap h;

	heap_init(&h);
	ck_assert_ptr_null(heap_first(&h));
	ck_assert_ptr_null(heap_pop(&h));
	ck_assert_uint_eq(heap_count(&h), 0);
	heap_fini(&h);
}
END_TEST

START_TEST(heap_gives_equal_keys_in_the_order_they_came)
{
	struct item items[10] = {{0}};
	struct heap h;

	heap_init(&h);
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(heap_push(&h, 7, &items[i], &items[i].index), 0);
	ck_assert(heap_first_key(&h) == 7);
	for (int i = 0; i < 10; i++)
		ck_assert_ptr_eq(heap_pop(&h), &items[i]);
	heap_fini(&h);
}
END_TEST

/* Random pushes and removals against a search of all items. */
START_TEST(heap_agrees_with_a_search_of_everything)
{
	static struct item items[ITEMS];
	uint32_t seed = 1, inside = 0;
	uint64_t order = 0;
	struct heap h;

	heap_init(&h);
	for (int round = 0; round < 20000; round++) {
		struct item *it = &items[draw(&seed) % ITEMS], *least = NULL;

		if (it->index == 0) {
			it->key = draw(&seed) % 50;
			it->order = order++;
			ck_assert_int_eq(heap_push(&h, it->key, it, &it->index), 0);
			inside++;
		} else if (draw(&seed) % 2 == 0) {
			heap_remove(&h, &it->index);
			ck_assert_uint_eq(it->index, 0);
			inside--;
		}
		ck_assert_uint_eq(heap_count(&h), inside);
		for (int i = 0; i < ITEMS; i++) {
			if (items[i].index == 0)
				continue;
			if (least == NULL || items[i].key < least->key ||
			    (items[i].key == least->key && items[i].order < least->order))
				least = &items[i];
		}
		ck_assert_ptr_eq(heap_first(&h), least);
		if (inside > 0 && draw(&seed) % 4 == 0) {
			ck_assert_ptr_eq(heap_pop(&h), least);
			ck_assert_uint_eq(least->index, 0);
			inside--;
		}
	}
	heap_fini(&h);
}
END_TEST

START_TEST(heap_reserve_makes_room)
{
	struct item items[100] = {{0}};
	struct heap h;

	heap_init(&h);
	ck_assert_int_eq(heap_reserve(&h, 100), 0);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(heap_push(&h, (uint64_t)(100 - i), &items[i], &items[i].index), 0);
	ck_assert_uint_eq(h.capacity, 100);
	ck_assert_ptr_eq(heap_first(&h), &items[99]);
	heap_fini(&h);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		heap_of_nothing_is_empty, heap_gives_equal_keys_in_the_order_they_came,
		heap_agrees_with_a_search_of_everything, heap_reserve_makes_room};

	return base_test_run("base-heap", tests, ARRAY_COUNT(tests));
}
