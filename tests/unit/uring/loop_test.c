/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/uring/uring_test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "engine/port/mailbox.h"
#include "engine/port/random.h"
#include "engine/uring/file.h"
#include "engine/uring/mailbox.h"
#include "engine/uring/notify.h"
#include "engine/uring/signals.h"
#include "engine/uring/thread.h"

START_TEST(loop_timers_fire_at_or_after_their_deadline_in_order)
{
	struct timer a = {.heap_index = 0}, b = {.heap_index = 0}, c = {.heap_index = 0};
	uint64_t now;
	struct world w;

	world_open(&w, masks[_i]);
	now = clock_now(w.env->clock).v;
	a.deadline.v = now + 20 * MS_NS;
	b.deadline.v = now + 5 * MS_NS;
	c.deadline.v = now + 3600 * SEC_NS;
	completion_arm(&a.done, &w.op, 1);
	completion_arm(&b.done, &w.op, 2);
	completion_arm(&c.done, &w.op, 4);
	clock_timer_arm(w.env->clock, &a);
	clock_timer_arm(w.env->clock, &b);
	clock_timer_arm(w.env->clock, &c);
	world_wait(&w, 2);
	ck_assert_uint_ge(clock_now(w.env->clock).v, b.deadline.v);
	ck_assert(timer_armed(&a));
	world_wait(&w, 1);
	ck_assert_uint_ge(clock_now(w.env->clock).v, a.deadline.v);
	clock_timer_disarm(w.env->clock, &c);
	ck_assert_int_eq(c.done.rc, -ERR_CANCELED);
	ck_assert_uint_eq(w.op.waits, 0);
	clock_timer_disarm(w.env->clock, &c); /* again: nothing */
	ck_assert_uint_gt(clock_wall(w.env->clock).v, 1600000000ull * SEC_NS);
	world_close(&w);
}
END_TEST

struct stopper {
	struct op op;
	struct timer timer;
	bool stop;
};

static void stopper_step(struct op *op)
{
	struct stopper *s = container_of(op, struct stopper, op);

	if (op->waits == 0)
		s->stop = true;
}

START_TEST(loop_run_returns_when_an_op_says_stop)
{
	struct stopper s = {.stop = false};
	struct world w;

	world_open(&w, masks[_i]);
	op_init(&s.op, w.env->ready, stopper_step);
	s.timer.deadline.v = clock_now(w.env->clock).v + 5 * MS_NS;
	completion_arm(&s.timer.done, &s.op, 1);
	clock_timer_arm(w.env->clock, &s.timer);
	ck_assert_int_eq(uring_loop_run(w.loop, &s.stop), 0);
	ck_assert(s.stop);
	world_close(&w);
}
END_TEST

START_TEST(loop_random_numbers_differ)
{
	struct world w;

	world_open(&w, 0);
	ck_assert_uint_ne(random_u64(w.env->random), random_u64(w.env->random));
	world_close(&w);
}
END_TEST

#define LETTERS 1000

struct letter {
	struct mail mail;
	int number;
};

/* With the wait it would take ten minutes, and the test be killed. */
START_TEST(loop_turn_in_which_a_step_ran_does_not_wait)
{
	struct world w;

	world_open(&w, masks[_i]);
	for (uint32_t i = 1; i <= 3; i++) {
		op_wake(&w.op);
		ck_assert_int_eq(uring_loop_turn(w.loop, 600 * SEC_NS), 0);
		ck_assert_uint_eq(w.steps, i);
	}
	world_close(&w);
}
END_TEST

struct poster {
	struct mailbox *box;
	struct letter letters[LETTERS];
};

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < LETTERS; i++) {
		p->letters[i].number = i;
		list_link_init(&p->letters[i].mail.link);
		p->box->post(p->box, &p->letters[i].mail);
	}
	return NULL;
}

START_TEST(loop_mail_of_two_threads_arrives_complete_and_in_each_ones_order)
{
	struct poster *p = calloc(2, sizeof(*p));
	int next[2] = {0, 0}, got = 0;
	struct mailbox *box;
	pthread_t threads[2];
	struct world w;

	world_open(&w, masks[_i]);
	ck_assert_int_eq(uring_mailbox_open(w.loop, &box), 0);
	box->receiver = &w.op;
	for (int i = 0; i < 2; i++) {
		p[i].box = box;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, poster_main, &p[i]), 0);
	}
	while (got < 2 * LETTERS) {
		uint32_t steps = w.steps;
		struct mail *mail;

		ck_assert_int_eq(uring_loop_turn(w.loop, SEC_NS), 0);
		if (w.steps == steps)
			continue; /* only a wake entitles us to look */
		while ((mail = box->take(box)) != NULL) {
			struct letter *l = container_of(mail, struct letter, mail);
			int from = l >= p[1].letters && l < p[1].letters + LETTERS;

			ck_assert_int_eq(l->number, next[from]);
			next[from]++;
			got++;
		}
	}
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	uring_mailbox_close(&box);
	ck_assert_ptr_null(box);
	world_close(&w);
	free(p);
}
END_TEST

START_TEST(loop_signal_wakes_its_receiver)
{
	const int wanted[] = {SIGTERM, SIGHUP, 0};
	struct uring_signals *s;
	struct world w;

	world_open(&w, masks[_i]);
	ck_assert_int_eq(uring_signals_open(w.loop, wanted, &w.op, &s), 0);
	world_idle(&w, 2 * MS_NS);
	ck_assert_int_eq(uring_signals_take(s), 0);
	kill(getpid(), SIGHUP);
	while (w.steps == 0)
		world_idle(&w, MS_NS);
	ck_assert_int_eq(uring_signals_take(s), SIGHUP);
	ck_assert_int_eq(uring_signals_take(s), 0);
	kill(getpid(), SIGTERM);
	world_idle(&w, 20 * MS_NS);
	ck_assert_int_eq(uring_signals_take(s), SIGTERM);
	uring_signals_close(&s);
	world_close(&w);
}
END_TEST

struct service {
	struct op op;
	struct mailbox *box; /* open before `told` */
	bool stop;
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool ready;
};

static void service_step(struct op *op)
{
	struct service *s = container_of(op, struct service, op);

	if (s->box->take(s->box) != NULL)
		s->stop = true;
}

static int service_run(struct uring_loop *loop, void *arg)
{
	struct service *s = arg;
	int rc = uring_mailbox_open(loop, &s->box);

	if (rc < 0)
		return rc;
	op_init(&s->op, uring_loop_env(loop)->ready, service_step);
	s->box->receiver = &s->op;
	pthread_mutex_lock(&s->lock);
	s->ready = true;
	pthread_cond_signal(&s->told);
	pthread_mutex_unlock(&s->lock);
	rc = uring_loop_run(loop, &s->stop);
	uring_mailbox_close(&s->box);
	return rc < 0 ? rc : 42;
}

START_TEST(loop_thread_runs_until_mail_tells_it_to_stop)
{
	struct service s = {.lock = PTHREAD_MUTEX_INITIALIZER, .told = PTHREAD_COND_INITIALIZER};
	struct uring_thread_options o = {.name = "ts-test", .run = service_run, .arg = &s};
	struct uring_thread *t;
	struct mail mail;
	struct world w;

	world_open(&w, masks[_i]);
	o.loop.log = &w.log;
	o.loop.mask = masks[_i];
	ck_assert_int_eq(uring_thread_start(&o, &t), 0);
	pthread_mutex_lock(&s.lock);
	while (!s.ready)
		pthread_cond_wait(&s.told, &s.lock);
	pthread_mutex_unlock(&s.lock);
	list_link_init(&mail.link);
	s.box->post(s.box, &mail);
	ck_assert_int_eq(uring_thread_join(&t), 42);
	world_close(&w);
}
END_TEST

/* As a container runtime does it: io_uring_setup answers EPERM.  In a child: it cannot be undone. */
static int forbidden_child(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {ARRAY_COUNT(code), code};
	struct world w = {.log = {.level = LOG_WARN, .write = world_log}};
	struct uring_options o = {.log = &w.log, .kernel_ring_required = true};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return 77; /* not here */
	if (uring_loop_open(&o, &w.loop) != -ERR_PERMISSION ||
	    strstr(w.last_line, "seccomp") == NULL)
		return 1;
	o.kernel_ring_required = false;
	if (uring_loop_open(&o, &w.loop) != 0 || strstr(w.last_line, "without io_uring") == NULL)
		return 2;
	if ((uring_loop_features(w.loop) & URING_KERNEL_RING) != 0)
		return 3;
	uring_loop_close(&w.loop);
	return 0;
}

START_TEST(loop_does_without_io_uring_where_it_is_forbidden)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(forbidden_child());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_msg(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77, "%d",
		      WEXITSTATUS(status));
}
END_TEST

START_TEST(file_replace_leaves_the_whole_new_content)
{
	char path[128], back[8];
	struct world w;

	world_open(&w, 0);
	snprintf(path, sizeof(path), "%s/deep", w.folder);
	ck_assert_int_eq(file_make_folder(path), 0);
	ck_assert_int_eq(file_make_folder(path), 0);
	snprintf(path, sizeof(path), "%s/deep/state", w.folder);
	ck_assert_int_eq(file_read(path, back, 8), -ERR_NOT_FOUND);
	ck_assert_int_eq(file_replace(path, "first", 5), 0);
	ck_assert_int_eq(file_replace(path, "no", 2), 0);
	ck_assert_int_eq(file_read(path, back, 8), 2);
	ck_assert(memcmp(back, "no", 2) == 0);
	ck_assert_int_eq(file_read(path, back, 2), 2);
	ck_assert_int_eq(file_read(path, back, 1), -ERR_TOO_BIG);
	snprintf(path, sizeof(path), "%s/absent/state", w.folder);
	ck_assert_int_eq(file_replace(path, "x", 1), -ERR_NOT_FOUND);
	world_close(&w);
}
END_TEST

static void add(TCase *tc)
{
	tcase_add_loop_test(tc, loop_timers_fire_at_or_after_their_deadline_in_order, 0, MASKS);
	tcase_add_loop_test(tc, loop_run_returns_when_an_op_says_stop, 0, MASKS);
	tcase_add_loop_test(tc, loop_turn_in_which_a_step_ran_does_not_wait, 0, MASKS);
	tcase_add_test(tc, loop_random_numbers_differ);
	tcase_add_loop_test(tc, loop_mail_of_two_threads_arrives_complete_and_in_each_ones_order, 0,
			    MASKS);
	tcase_add_loop_test(tc, loop_signal_wakes_its_receiver, 0, MASKS);
	tcase_add_loop_test(tc, loop_thread_runs_until_mail_tells_it_to_stop, 0, MASKS);
	tcase_add_test(tc, loop_does_without_io_uring_where_it_is_forbidden);
	tcase_add_test(tc, file_replace_leaves_the_whole_new_content);
}

int main(void)
{
	return run_case("uring-loop", add);
}
