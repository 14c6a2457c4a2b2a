/* Preloaded: the wall clock of a process stands MOVED_CLOCK_SECONDS ahead; durations are as ever.
 *
 * Not libfaketime: version 0.9.10 knows neither sem_clockwait nor cnd_timedwait, so Python 3.11
 * hangs in its locks and librdkafka in its queues; told to leave the monotonic clock alone, it
 * makes time.sleep fail. Here only CLOCK_REALTIME moves, and deadlines that were computed from it
 * are moved back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static time_t shift(void) {
    const char *seconds = getenv("MOVED_CLOCK_SECONDS");
    return seconds ? atol(seconds) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static __typeof__(&clock_gettime) next;
    if (!next) next = NEXT(clock_gettime);
    int failed = next(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static __typeof__(&gettimeofday) next;
    if (!next) next = NEXT(gettimeofday);
    int failed = next(now, zone);
    if (!failed) now->tv_sec += shift();
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *now, int base) {
    return clock_gettime(CLOCK_REALTIME, now) ? 0 : base;
}

/* A deadline near the moved wall clock was computed from it; one on the monotonic clock is far. */
static struct timespec moved_back(const struct timespec *deadline) {
    struct timespec now, back = *deadline;
    clock_gettime(CLOCK_REALTIME, &now);
    if (labs(deadline->tv_sec - now.tv_sec) < labs(shift()) / 2) back.tv_sec -= shift();
    return back;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static __typeof__(&pthread_cond_timedwait) next;
    if (!next) next = NEXT(pthread_cond_timedwait);
    struct timespec back = moved_back(deadline);
    return next(condition, mutex, &back);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict deadline) {
    static __typeof__(&cnd_timedwait) next;
    if (!next) next = NEXT(cnd_timedwait);
    struct timespec back = moved_back(deadline);
    return next(condition, mutex, &back);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    static __typeof__(&sem_timedwait) next;
    if (!next) next = NEXT(sem_timedwait);
    struct timespec back = moved_back(deadline);
    return next(semaphore, &back);
}
