//! Chooses the next token out of logits.
//!
//! With one seed the same logits give the same tokens, on every machine: the random numbers and the
//! order of all sums are fixed.

use std::cmp::Ordering;

use rialto_compute::language::Sampling;

/// Why no token was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// A setting is not a number or outside its range.
    #[error("`{0}` is not within its range")]
    Setting(&'static str),
    /// The mask allows no token of the vocabulary.
    #[error("no token is allowed")]
    NothingAllowed,
    /// The model gave no number: its weights are damaged.
    #[error("the model's logits are no numbers")]
    NoNumber,
}

/// Chooses tokens.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f32,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// [`SampleError::Setting`] with the field's name.
    pub fn new(sampling: Sampling) -> Result<Self, SampleError> {
        let check = |fits: bool, name| {
            if fits {
                Ok(())
            } else {
                Err(SampleError::Setting(name))
            }
        };
        let s = &sampling;
        check(
            (0.01..=100.0).contains(&s.repetition_penalty),
            "repetition_penalty",
        )?;
        check((0.0..=100.0).contains(&s.temperature), "temperature")?;
        check(s.top_p > 0.0 && s.top_p <= 1.0, "top_p")?;
        check((0.0..=1.0).contains(&s.min_p), "min_p")?;
        Ok(Self {
            sampling,
            state: sampling.seed,
        })
    }

    /// Continues with the random number that belongs to the token at `position`: then a choice follows
    /// from the seed and the session alone, however many sampled before.
    pub fn at(&mut self, position: usize) {
        let position = u64::try_from(position).unwrap_or(u64::MAX);
        self.state = (self.sampling.seed).wrapping_add(position.wrapping_mul(GAMMA));
    }

    /// Chooses a token. `past` is what the session has seen; `allowed`, where given, are the only
    /// tokens that may be chosen, in any order.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn sample(
        &mut self,
        logits: &[f32],
        past: &[u32],
        allowed: Option<&[u32]>,
    ) -> Result<u32, SampleError> {
        let mut candidates = self.candidates(logits, past, allowed)?;
        let best = candidates.iter().copied().min_by(by_rank);
        let best = best.ok_or(SampleError::NoNumber)?;
        if self.sampling.temperature == 0.0 {
            return Ok(best.token);
        }
        self.keep_most_likely(&mut candidates);
        let temperature = f64::from(self.sampling.temperature);
        let weigh =
            |c: &Candidate| ((f64::from(c.logit) - f64::from(best.logit)) / temperature).exp();
        let weighed = candidates.iter().map(|c| (*c, weigh(c)));
        let weighed = self.cut(weighed.collect());
        let sum = weighed.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut left = self.random() * sum;
        let mut chosen = best;
        for (candidate, weight) in &weighed {
            chosen = *candidate;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        Ok(chosen.token)
    }

    /// Allowed tokens whose logits are numbers, repetitions penalised.
    fn candidates(
        &self,
        logits: &[f32],
        past: &[u32],
        allowed: Option<&[u32]>,
    ) -> Result<Vec<Candidate>, SampleError> {
        let at = |token: u32| logits.get(usize::try_from(token).ok()?).copied();
        let mut candidates: Vec<Candidate> = match allowed {
            None => (0..)
                .zip(logits)
                .map(|(token, logit)| Candidate {
                    token,
                    logit: *logit,
                })
                .collect(),
            Some(tokens) => {
                let mut tokens = tokens.to_vec();
                tokens.sort_unstable();
                tokens.dedup();
                let candidate = |token| at(token).map(|logit| Candidate { token, logit });
                tokens.into_iter().filter_map(candidate).collect()
            }
        };
        if candidates.is_empty() {
            return Err(SampleError::NothingAllowed);
        }
        let penalty = self.sampling.repetition_penalty;
        if penalty != 1.0 {
            let from = past.len().saturating_sub(self.sampling.penalty_tokens);
            let mut recent = past.get(from..).unwrap_or_default().to_vec();
            recent.sort_unstable();
            recent.dedup();
            // Candidates are in the tokens' order here.
            for token in recent {
                let found = candidates.binary_search_by_key(&token, |candidate| candidate.token);
                if let Some(candidate) = found.ok().and_then(|place| candidates.get_mut(place)) {
                    let logit = candidate.logit;
                    candidate.logit = if logit > 0.0 {
                        logit / penalty
                    } else {
                        logit * penalty
                    };
                }
            }
        }
        candidates.retain(|candidate| candidate.logit.is_finite());
        if candidates.is_empty() {
            return Err(SampleError::NoNumber);
        }
        Ok(candidates)
    }

    /// Drops all but the first `top_k`; what is left is in the tokens' order.
    fn keep_most_likely(&self, candidates: &mut Vec<Candidate>) {
        let keep = self.sampling.top_k;
        if keep > 0 && keep < candidates.len() {
            candidates.select_nth_unstable_by(keep, by_rank);
            candidates.truncate(keep);
            candidates.sort_unstable_by_key(|candidate| candidate.token);
        }
    }

    /// Drops what is past `top_p` or below `min_p`. One always stays.
    fn cut(&self, mut all: Vec<(Candidate, f64)>) -> Vec<(Candidate, f64)> {
        let Sampling { top_p, min_p, .. } = self.sampling;
        let wanted = all.iter().map(|(_, weight)| weight).sum::<f64>() * f64::from(top_p);
        // The most likely token weighs 1.
        if min_p > 0.0 {
            all.retain(|(_, weight)| *weight >= f64::from(min_p));
        }
        if top_p >= 1.0 {
            return all;
        }
        // A few tokens nearly always have enough; the whole vocabulary is not sorted for them.
        let mut first = FIRST;
        loop {
            if first < all.len() {
                all.select_nth_unstable_by(first, |(a, _), (b, _)| by_rank(a, b));
            }
            let end = first.min(all.len());
            let likely = all.get_mut(..end).unwrap_or_default();
            likely.sort_unstable_by(|(a, _), (b, _)| by_rank(a, b));
            let mut sum = 0.0;
            let enough = likely.iter().position(|(_, weight)| {
                sum += weight;
                sum >= wanted
            });
            if let Some(last) = enough {
                all.truncate(last.saturating_add(1));
                return all;
            }
            if end == all.len() {
                return all;
            }
            first = first.saturating_mul(8);
        }
    }

    /// The next random number, from 0 up to 1: SplitMix64, its upper 53 bits.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(GAMMA);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// SplitMix64's step.
const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
/// How many of the most likely tokens are looked at first.
const FIRST: usize = 64;

/// The most likely tokens and the natural logarithms of their probabilities, most likely first. Logits that
/// are no numbers do not count.
pub(crate) fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let all = (0..).zip(logits).filter(|(_, logit)| logit.is_finite());
    let mut all: Vec<Candidate> = all
        .map(|(token, logit)| Candidate {
            token,
            logit: *logit,
        })
        .collect();
    let Some(most) = all.iter().copied().min_by(by_rank) else {
        return Vec::new();
    };
    let distance = |c: &Candidate| f64::from(c.logit) - f64::from(most.logit);
    let sum = all.iter().map(|c| distance(c).exp()).sum::<f64>().ln();
    if count < all.len() {
        all.select_nth_unstable_by(count, by_rank);
        all.truncate(count);
    }
    all.sort_unstable_by(by_rank);
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what is shown")]
    let shown = |c: &Candidate| (c.token, (distance(c) - sum) as f32);
    all.iter().map(shown).collect()
}

/// The more likely first; of equals, the lower token.
fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

#[cfg(test)]
mod tests;
