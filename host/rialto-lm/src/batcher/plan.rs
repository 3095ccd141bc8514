//! Who is in the next pass, and with how many tokens.
//!
//! Each tenant is served by the tokens that were computed for it: the one with the fewest comes first.
//! While several tenants wait, or somebody waits for a token, passes stay small, since everybody's next
//! token waits for the whole pass; a lone prompt goes in large pieces, which costs least.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::job::Job;

/// What tenants with work were given so far, in tokens.
#[derive(Debug, Default)]
pub(super) struct Plan {
    served: BTreeMap<Arc<str>, u64>,
    passes: u64,
}

impl Plan {
    /// Places in `jobs` with numbers of tokens. Not empty if there is a job; all jobs have tokens to take
    /// in.
    pub(super) fn next(&mut self, jobs: &mut [Job]) -> Vec<(usize, usize)> {
        self.passes = self.passes.saturating_add(1);
        let asked: Vec<Asked> = jobs.iter().map(Asked::of).collect();
        let turns = self.turns(&asked);
        for (place, _) in &turns {
            if let Some(job) = jobs.get_mut(*place) {
                job.turn = self.passes;
            }
        }
        turns
    }

    fn turns(&mut self, jobs: &[Asked]) -> Vec<(usize, usize)> {
        self.enter_and_leave(jobs);
        let mut left = rows_max(jobs, self.served.len());
        let mut waiting = by_tenant(jobs);
        let mut turns: Vec<(usize, usize)> = Vec::new();
        while left > 0 {
            let next = waiting
                .iter()
                .filter(|(_, places)| !places.is_empty())
                .min_by_key(|(tenant, _)| self.served.get(*tenant).copied())
                .map(|(tenant, _)| Arc::clone(tenant));
            let Some(tenant) = next else { break };
            let place = waiting.get_mut(&tenant).and_then(Vec::pop);
            let Some((place, job)) = place.and_then(|place| Some((place, jobs.get(place)?))) else {
                break;
            };
            let rows = job.todo.min(PIECE).min(left);
            turns.push((place, rows));
            left -= rows;
            self.count(&tenant, rows);
        }
        // What is left of the pass goes to the prompts in it.
        for (place, rows) in &mut turns {
            let Some(job) = jobs.get(*place) else {
                continue;
            };
            let more = (job.todo - *rows).min(left);
            *rows += more;
            left -= more;
            self.count(&job.tenant, more);
        }
        turns
    }

    /// A tenant begins with what the one served least has: nobody saves up while away.
    fn enter_and_leave(&mut self, jobs: &[Asked]) {
        let present: BTreeSet<&Arc<str>> = jobs.iter().map(|job| &job.tenant).collect();
        self.served.retain(|tenant, _| present.contains(tenant));
        let least = self.served.values().min().copied().unwrap_or(0);
        for tenant in present {
            self.served.entry(Arc::clone(tenant)).or_insert(least);
        }
    }

    fn count(&mut self, tenant: &str, rows: usize) {
        if let Some(served) = self.served.get_mut(tenant) {
            *served = served.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX));
        }
    }
}

/// Each tenant's jobs; the one that waits longest is last.
fn by_tenant(jobs: &[Asked]) -> BTreeMap<Arc<str>, Vec<usize>> {
    let mut all: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (place, job) in jobs.iter().enumerate() {
        all.entry(Arc::clone(&job.tenant)).or_default().push(place);
    }
    for places in all.values_mut() {
        places.sort_by_key(|place| (jobs.get(*place).map(|job| job.turn), *place));
        places.reverse();
    }
    all
}

/// What a plan needs to know of a job.
#[derive(Debug, Clone)]
struct Asked {
    tenant: Arc<str>,
    todo: usize,
    decodes: bool,
    turn: u64,
}

impl Asked {
    fn of(job: &Job) -> Self {
        Self {
            tenant: Arc::clone(job.tenant()),
            todo: job.todo(),
            decodes: job.decodes(),
            turn: job.turn,
        }
    }
}

fn rows_max(jobs: &[Asked], tenants: usize) -> usize {
    let decoding = jobs.iter().any(|job| job.decodes);
    match (tenants, decoding) {
        (0 | 1, false) => crate::runner::ROWS_MAX,
        (0 | 1, true) => ROWS_OWN,
        (_, _) => ROWS_SHARED,
    }
}

/// Tokens of one prompt that are taken at a time while others wait: one tile of the kernels.
const PIECE: usize = crate::kernels::TILE;
/// Tokens of a pass while several tenants wait: two tiles, which take about twice the time of one token.
const ROWS_SHARED: usize = 2 * PIECE;
/// Tokens of a pass while one tenant's sessions wait for each other.
const ROWS_OWN: usize = 8 * PIECE;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tenant: &str, todo: usize) -> Asked {
        Asked {
            tenant: Arc::from(tenant),
            todo,
            decodes: todo == 1,
            turn: 0,
        }
    }

    #[test]
    fn a_lone_prompt_goes_in_large_pieces() {
        let mut plan = Plan::default();
        assert_eq!(plan.turns(&[asked("a", 1000)]), [(0, 256)]);
        assert_eq!(plan.turns(&[asked("a", 3)]), [(0, 3)]);
        assert!(plan.turns(&[]).is_empty());
    }

    #[test]
    fn a_long_prompt_leaves_room_for_another_tenants_tokens() {
        let mut plan = Plan::default();
        for _ in 0..100 {
            let turns = plan.turns(&[asked("flood", 100_000), asked("small", 1)]);
            assert!(turns.contains(&(1, 1)), "{turns:?}");
            assert!(turns.contains(&(0, 15)), "{turns:?}");
        }
    }

    #[test]
    fn many_sessions_of_one_tenant_do_not_crowd_another_out() {
        let mut jobs = vec![asked("flood", 1); 60];
        jobs.push(asked("small", 1));
        let mut plan = Plan::default();
        let mut served = vec![0; jobs.len()];
        for pass in 0..60 {
            let turns = plan.turns(&jobs);
            assert_eq!(turns.len(), 16);
            for (place, rows) in turns {
                served[place] += rows;
                jobs[place].turn = pass + 1;
            }
        }
        assert_eq!(served[60], 60, "in every pass");
        let (least, most) = (served[..60].iter().min(), served[..60].iter().max());
        assert!(least.unwrap() + 1 >= *most.unwrap(), "{served:?}");
    }

    #[test]
    fn two_tenants_prompts_share_every_pass() {
        let mut plan = Plan::default();
        let (mut a, mut b) = (0, 0);
        for _ in 0..20 {
            for (place, rows) in plan.turns(&[asked("a", 500), asked("b", 500), asked("b", 500)]) {
                *if place == 0 { &mut a } else { &mut b } += rows;
            }
        }
        assert_eq!((a, b), (160, 160));
    }
}
