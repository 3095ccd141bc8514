//! Fairness, quotas, batches, limits: by example, and by random sequences on a simulated device.

use proptest::prelude::*;

use super::*;
use crate::quota::Quota;

const MS: Duration = Duration::from_millis(1);

type Queue = Scheduler<&'static str, u64>;

fn job(tenant: &str, key: Option<&'static str>, ms: u32, work: u64) -> Job<&'static str, u64> {
    Job {
        tenant: Tenant::new(tenant),
        key,
        estimate: ms * MS,
        work,
    }
}

fn config(places: usize) -> Config {
    Config {
        places,
        ..Config::default()
    }
}

/// Does all that waits, each batch in its jobs' real times, one place; returns the order of works.
fn drain(queue: &mut Queue, now: &mut Duration, real: impl Fn(u64) -> Duration) -> Vec<Vec<u64>> {
    let mut order = Vec::new();
    loop {
        while let Some(batch) = queue.next(*now) {
            let works: Vec<u64> = batch.jobs.iter().map(|(_, work)| *work).collect();
            let took = works.iter().map(|work| real(*work)).sum();
            *now += took;
            queue.finished(*now, batch.id, took);
            order.push(works);
        }
        match queue.wake_at() {
            Some(at) if at > *now => *now = at,
            _ => return order,
        }
    }
}

#[test]
fn tenants_take_turns_whatever_they_queue() {
    let mut queue = Queue::new(config(1));
    for work in 0..6 {
        queue
            .submit(Duration::ZERO, job("flood", None, 10, work))
            .unwrap();
    }
    for work in 10..12 {
        queue
            .submit(Duration::ZERO, job("quiet", None, 10, work))
            .unwrap();
    }
    let order = drain(&mut queue, &mut Duration::ZERO.clone(), |_| 10 * MS);
    assert_eq!(order.concat(), [0, 10, 1, 11, 2, 3, 4, 5]);
}

#[test]
fn weights_share_time_and_not_jobs() {
    let mut queue = Queue::new(config(1));
    let double = Share {
        weight: 2,
        quota: None,
    };
    queue.set_share(Duration::ZERO, &Tenant::new("heavy"), double);
    for work in 0..100 {
        queue
            .submit(Duration::ZERO, job("heavy", None, 10, work))
            .unwrap();
        queue
            .submit(Duration::ZERO, job("light", None, 5, 100 + work))
            .unwrap();
    }
    let mut now = Duration::ZERO;
    let mut heavy = Duration::ZERO;
    while now < 600 * MS {
        let batch = queue.next(now).unwrap();
        let took = if batch.jobs[0].1 < 100 {
            10 * MS
        } else {
            5 * MS
        };
        heavy += if batch.jobs[0].1 < 100 {
            took
        } else {
            Duration::ZERO
        };
        now += took;
        queue.finished(now, batch.id, took);
    }
    assert!(
        (390 * MS..=410 * MS).contains(&heavy),
        "{heavy:?} of {now:?}"
    );
}

#[test]
fn a_wrong_estimate_is_put_right_afterwards() {
    let mut queue = Queue::new(config(1));
    for work in 0..20 {
        // Says 1 ms, takes 10.
        queue
            .submit(Duration::ZERO, job("liar", None, 1, work))
            .unwrap();
        queue
            .submit(Duration::ZERO, job("honest", None, 10, 100 + work))
            .unwrap();
    }
    let mut now = Duration::ZERO;
    let order = drain(&mut queue, &mut now, |_| 10 * MS).concat();
    let liars = order.iter().take(20).filter(|work| **work < 100).count();
    assert!((9..=11).contains(&liars), "{order:?}");
}

#[test]
fn time_away_is_not_saved_up() {
    let mut queue = Queue::new(config(1));
    let mut now = Duration::ZERO;
    for work in 0..50 {
        queue.submit(now, job("busy", None, 10, work)).unwrap();
    }
    for _ in 0..20 {
        let batch = queue.next(now).unwrap();
        now += 10 * MS;
        queue.finished(now, batch.id, 10 * MS);
    }
    for work in 100..110 {
        queue.submit(now, job("late", None, 10, work)).unwrap();
    }
    let order = drain(&mut queue, &mut now, |_| 10 * MS).concat();
    let late = order.iter().take(10).filter(|work| **work >= 100).count();
    assert!((5..=6).contains(&late), "turns, and no more: {order:?}");
}

#[test]
fn a_quota_holds_on_an_idle_device() {
    let mut queue = Queue::new(config(1));
    let tenth = Share {
        weight: 1,
        quota: Some(Quota {
            per_second: 100 * MS,
            burst: 20 * MS,
        }),
    };
    queue.set_share(Duration::ZERO, &Tenant::new("capped"), tenth);
    for work in 0..20 {
        queue
            .submit(Duration::ZERO, job("capped", None, 10, work))
            .unwrap();
    }
    let mut now = Duration::ZERO;
    let order = drain(&mut queue, &mut now, |_| 10 * MS);
    assert_eq!(order.len(), 20);
    // 200 ms of work, 20 at once, the rest at a tenth of the time; the last is owed.
    assert!((1_700 * MS..1_730 * MS).contains(&now), "{now:?}");
    assert!(queue.try_begin(now, &Tenant::new("capped"), MS).is_none());
    assert!(queue.try_begin(now, &Tenant::new("other"), MS).is_some());
}

#[test]
fn what_fits_together_is_one_batch_of_all_tenants() {
    let mut queue = Queue::new(Config {
        batch_max: 4,
        ..config(1)
    });
    for work in 0..6 {
        queue
            .submit(Duration::ZERO, job("a", Some("m"), 1, work))
            .unwrap();
    }
    queue.submit(Duration::ZERO, job("b", None, 1, 10)).unwrap();
    queue
        .submit(Duration::ZERO, job("b", Some("m"), 1, 11))
        .unwrap();
    queue
        .submit(Duration::ZERO, job("c", Some("n"), 1, 20))
        .unwrap();
    queue
        .submit(Duration::ZERO, job("d", Some("m"), 1, 30))
        .unwrap();
    let first = queue.next(Duration::ZERO).unwrap();
    let works: Vec<u64> = first.jobs.iter().map(|(_, work)| *work).collect();
    assert_eq!(
        works,
        [0, 11, 30, 1],
        "the others' before the leader's second"
    );
    assert!(queue.next(Duration::ZERO).is_none(), "one place");
    queue.finished(8 * MS, first.id, 8 * MS);
    let uses: HashMap<String, Use> = queue
        .uses()
        .map(|(tenant, used)| (tenant.to_string(), used))
        .collect();
    assert_eq!(uses["a"].device_time, 4 * MS);
    assert_eq!(uses["b"].device_time, 2 * MS);
    assert_eq!((uses["a"].jobs, uses["c"].jobs), (2, 0));
}

#[test]
fn a_batch_is_no_longer_than_others_should_wait() {
    let mut queue = Queue::new(Config {
        batch_time_max: 35 * MS,
        ..config(1)
    });
    for work in 0..6 {
        queue
            .submit(Duration::ZERO, job("a", Some("m"), 10, work))
            .unwrap();
    }
    queue
        .submit(Duration::ZERO, job("b", Some("m"), 100, 10))
        .unwrap();
    let mut sizes = Vec::new();
    for batch in drain(&mut queue, &mut Duration::ZERO.clone(), |_| 10 * MS) {
        sizes.push(batch.len());
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3], "a long job goes alone");
}

#[test]
fn lingering_waits_for_company_but_not_for_ever() {
    let mut queue = Queue::new(Config {
        linger: 5 * MS,
        batch_max: 3,
        ..config(2)
    });
    queue
        .submit(Duration::ZERO, job("a", Some("m"), 1, 0))
        .unwrap();
    assert!(queue.next(Duration::ZERO).is_none());
    assert_eq!(queue.wake_at(), Some(5 * MS));
    queue.submit(MS, job("b", Some("m"), 1, 1)).unwrap();
    assert!(queue.next(MS).is_none(), "two of three");
    queue.submit(2 * MS, job("c", Some("m"), 1, 2)).unwrap();
    assert_eq!(queue.next(2 * MS).unwrap().jobs.len(), 3, "full");
    queue.submit(3 * MS, job("a", Some("m"), 1, 3)).unwrap();
    queue.submit(3 * MS, job("d", None, 1, 4)).unwrap();
    assert_eq!(
        queue.next(3 * MS).unwrap().jobs[0].1,
        4,
        "it has nobody to wait for"
    );
    assert_eq!(queue.wake_at(), None, "no place");
}

#[test]
fn queues_are_bounded_and_say_when_to_come_again() {
    let mut queue = Queue::new(Config {
        waiting_max: 3,
        tenant_waiting_max: 2,
        ..config(2)
    });
    let first = queue.submit(Duration::ZERO, job("a", None, 10, 0)).unwrap();
    queue.submit(Duration::ZERO, job("a", None, 10, 1)).unwrap();
    let own = queue
        .submit(Duration::ZERO, job("a", None, 10, 2))
        .unwrap_err();
    assert_eq!(
        own.to_string(),
        "2 jobs of `a` wait for the device; come again in 10 ms"
    );
    queue.submit(Duration::ZERO, job("b", None, 10, 3)).unwrap();
    let all = queue
        .submit(Duration::ZERO, job("c", None, 10, 4))
        .unwrap_err();
    assert_eq!(
        all.to_string(),
        "3 jobs wait for the device; come again in 15 ms"
    );
    assert_eq!(queue.cancel(&Tenant::new("a"), first), Some(0));
    assert_eq!(queue.cancel(&Tenant::new("a"), first), None, "once");
    queue.submit(Duration::ZERO, job("c", None, 10, 4)).unwrap();
}

#[test]
fn the_way_around_is_shut_while_anybody_waits() {
    let mut queue = Queue::new(config(2));
    let ann = Tenant::new("ann");
    let one = queue.try_begin(Duration::ZERO, &ann, MS).unwrap();
    let two = queue.try_begin(Duration::ZERO, &ann, MS).unwrap();
    assert!(queue.try_begin(Duration::ZERO, &ann, MS).is_none(), "full");
    queue
        .submit(Duration::ZERO, job("bob", None, 1, 0))
        .unwrap();
    queue.finished(MS, one, MS);
    assert!(queue.try_begin(MS, &ann, MS).is_none(), "bob waits");
    assert!(queue.next(MS).is_some());
    queue.finished(MS, two, MS);
    assert!(queue.try_begin(MS, &ann, MS).is_some());
}

#[test]
fn tenants_with_nothing_to_remember_are_forgotten() {
    let mut queue = Queue::new(config(1));
    let mut now = Duration::ZERO;
    for number in 0..10_000_u64 {
        let tenant = Tenant::new(&number.to_string());
        let id = queue.try_begin(now, &tenant, MS).unwrap();
        now += MS;
        queue.finished(now, id, MS);
    }
    assert!(
        queue.accounts.len() <= 2 * SWEEP_MIN,
        "{}",
        queue.accounts.len()
    );
}

/// One thing that happens to a scheduler.
#[derive(Debug, Clone)]
enum Step {
    Submit { tenant: u8, key: u8, ms: u8 },
    Cancel { index: u8 },
    Begin,
    Finish { index: u8, ms: u8 },
    Pass { ms: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_u8..5, 0_u8..3, 1_u8..30).prop_map(|(tenant, key, ms)| Step::Submit { tenant, key, ms }),
        1 => any::<u8>().prop_map(|index| Step::Cancel { index }),
        4 => Just(Step::Begin),
        4 => (any::<u8>(), 1_u8..30).prop_map(|(index, ms)| Step::Finish { index, ms }),
        2 => (0_u8..50).prop_map(|ms| Step::Pass { ms }),
    ]
}

const KEYS: [Option<&str>; 3] = [None, Some("m"), Some("n")];

/// A device and what it should have been given.
struct World {
    queue: Queue,
    now: Duration,
    /// Id, tenant and key of what waits.
    waiting: Vec<(JobId, u8, u8)>,
    running: Vec<BatchId>,
}

impl World {
    fn new() -> Self {
        let mut queue = Queue::new(Config {
            waiting_max: 20,
            tenant_waiting_max: 8,
            batch_max: 4,
            linger: 3 * MS,
            ..config(2)
        });
        let capped = Share {
            weight: 3,
            quota: Some(Quota {
                per_second: 300 * MS,
                burst: 30 * MS,
            }),
        };
        queue.set_share(Duration::ZERO, &Tenant::new("0"), capped);
        Self {
            queue,
            now: Duration::ZERO,
            waiting: Vec::new(),
            running: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Submit { tenant, key, ms } => {
                let work = job(&tenant.to_string(), KEYS[usize::from(key)], ms.into(), 0);
                if let Ok(id) = self.queue.submit(self.now, work) {
                    self.waiting.push((id, tenant, key));
                }
            }
            Step::Cancel { index } if !self.waiting.is_empty() => {
                let index = usize::from(index) % self.waiting.len();
                let (id, tenant, _) = self.waiting.remove(index);
                assert!(
                    self.queue
                        .cancel(&Tenant::new(&tenant.to_string()), id)
                        .is_some()
                );
            }
            Step::Finish { index, ms } if !self.running.is_empty() => {
                let index = usize::from(index) % self.running.len();
                self.now += MS;
                let id = self.running.swap_remove(index);
                self.queue.finished(self.now, id, u32::from(ms) * MS);
            }
            Step::Begin => self.begin(),
            Step::Pass { ms } => self.now += u32::from(ms) * MS,
            Step::Cancel { .. } | Step::Finish { .. } => {}
        }
        assert_eq!(self.queue.waiting(), self.waiting.len());
        assert_eq!(self.queue.running(), self.running.len());
        assert!(self.running.len() <= 2);
    }

    fn begin(&mut self) {
        while let Some(batch) = self.queue.next(self.now) {
            let ids: Vec<JobId> = batch.jobs.iter().map(|(id, _)| *id).collect();
            assert!((1..=4).contains(&ids.len()));
            let (begun, waiting) = self.waiting.drain(..).partition(|job| ids.contains(&job.0));
            self.waiting = waiting;
            let begun: Vec<(JobId, u8, u8)> = begun;
            assert_eq!(
                begun.len(),
                ids.len(),
                "each job once, and none that is gone"
            );
            assert!(begun.iter().all(|job| job.2 == begun[0].2), "one key");
            assert!(begun.len() == 1 || begun[0].2 > 0, "no key, no company");
            self.running.push(batch.id);
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_job_is_begun_once_and_none_is_left(
        steps in prop::collection::vec(step(), 0..300)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        // Nothing new comes: all that waits is begun within the time that quotas and lingering take.
        let mut rounds = 0;
        while !world.waiting.is_empty() || !world.running.is_empty() {
            world.begin();
            if let Some(id) = world.running.pop() {
                world.queue.finished(world.now, id, MS);
            } else if let Some(at) = world.queue.wake_at() {
                prop_assert!(at > world.now, "nothing may begin, yet now is when it could");
                world.now = at;
            }
            rounds += 1;
            prop_assert!(rounds < 1_000, "stuck with {:?}", world.waiting);
        }
    }

    #[test]
    fn nobody_falls_behind_by_more_than_two_jobs(
        lengths in prop::collection::vec((1_u32..20, 1_u32..20), 30..60)
    ) {
        let mut queue = Queue::new(Config { tenant_waiting_max: 100, ..config(1) });
        for (left, right) in &lengths {
            queue.submit(Duration::ZERO, job("left", None, *left, 0)).unwrap();
            queue.submit(Duration::ZERO, job("right", None, *right, 1)).unwrap();
        }
        let mut sums = [Duration::ZERO; 2];
        let mut indices = [0_usize; 2];
        let mut now = Duration::ZERO;
        while indices.iter().all(|index| *index < lengths.len()) {
            let batch = queue.next(now).unwrap();
            let who = usize::try_from(batch.jobs[0].1).unwrap();
            let (left, right) = lengths[indices[who]];
            let took = [left, right][who] * MS;
            indices[who] += 1;
            sums[who] += took;
            now += took;
            queue.finished(now, batch.id, took);
            let gap = sums[0].abs_diff(sums[1]);
            prop_assert!(gap <= 40 * MS, "{gap:?} apart");
        }
    }
}
